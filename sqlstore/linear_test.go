package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// administration is what an administrator did with the one role of a principal, and what they were told.
type administration struct {
	principal string
	gives     bool
	exists    bool // what was to be given was there
}

// roleModel is a role that a principal has or has not.
var roleModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		of := map[string][]porcupine.Operation{}
		for _, o := range history {
			name := o.Input.(administration).principal
			of[name] = append(of[name], o)
		}
		var list [][]porcupine.Operation
		for _, part := range of {
			list = append(list, part)
		}
		return list
	},
	Init: func() any { return false },
	Step: func(state, input, _ any) (bool, any) {
		a := input.(administration)
		if a.gives {
			return a.exists == state.(bool), true
		}
		return true, false
	},
}

// TestAdministratorsAreLinearizable lets administrators change the same roles by way of several stores. CHANSEC_SQL_HISTORY
// sets how many changes each of them makes.
func TestAdministratorsAreLinearizable(t *testing.T) {
	each := 40
	if text := os.Getenv("CHANSEC_SQL_HISTORY"); text != "" {
		var err error
		each, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	onBoth(t, func(t *testing.T, x storage) {
		const stores, administrators, principals = 3, 2, 4
		require.NoError(t, x.open(t, Options{}).Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.AddRole("r", "") }))
		var mu sync.Mutex
		var history []porcupine.Operation
		var failed error
		began := time.Now()
		var wg sync.WaitGroup
		for i := range stores {
			s := x.open(t, Options{Poll: time.Duration(10+40*i) * time.Millisecond})
			for j := range administrators {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(i), uint64(j)))
					for range each {
						a := administration{principal: fmt.Sprint("p", r.IntN(principals)), gives: r.IntN(2) == 0}
						f := func(tx *policy.Tx) error {
							if a.gives {
								return tx.AssignNewRole(a.principal, "r")
							}
							return tx.UnassignRole(a.principal, "r")
						}
						call := time.Since(began)
						err := s.change(j == 1, f)
						back := time.Since(began)
						a.exists = errors.Is(err, policy.Exists)
						mu.Lock()
						if err != nil && !a.exists {
							failed = err
						}
						history = append(history, porcupine.Operation{ClientId: administrators*i + j, Input: a, Call: int64(call), Return: int64(back)})
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		require.NoError(t, failed)
		require.Len(t, history, stores*administrators*each)
		require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(roleModel, history, time.Minute))
		last := x.open(t, Options{})
		sameAsTables(t, last)

		// The checker can say no.
		for i, o := range history {
			if a := o.Input.(administration); a.gives {
				a.exists = !a.exists
				history[i].Input = a
			}
		}
		require.Equal(t, porcupine.Illegal, porcupine.CheckOperationsTimeout(roleModel, history, time.Minute))
	})
}

// change changes the policy, in a transaction of its own or in one of the caller's.
func (s *Store) change(joined bool, f func(*policy.Tx) error) error {
	ctx := context.Background()
	if !joined {
		return s.Policy().Update(ctx, policy.Root(), f)
	}
	for {
		tx, err := s.DB().BeginTx(ctx, nil)
		if err == nil {
			_, err = s.UpdateIn(ctx, tx, policy.Root(), f)
			if err == nil {
				err = tx.Commit()
			}
			_ = tx.Rollback()
		}
		if !errors.Is(err, Retry) && !transient(err) {
			return err
		}
	}
}
