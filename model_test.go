package chansec_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// modelStep is an operation with the seed of its choices, so that it means much the same when others are left out.
type modelStep struct {
	op   int
	seed uint64
}

// stepsPerWorld is how many operations a world lives for: long enough to wrap every table, short enough that the
// reference, which searches everything, stays fast.
const stepsPerWorld = 500

// TestModel does random operations to the library and to the reference of its rules, and compares results, errors,
// messages and audit events after each. CHANSEC_MODEL_OPS says how many, CHANSEC_MODEL_SEED where to begin.
func TestModel(t *testing.T) {
	ops := number(t, "CHANSEC_MODEL_OPS", 60_000)
	first := uint64(number(t, "CHANSEC_MODEL_SEED", 1))
	if testing.Short() {
		ops = min(ops, 10_000)
	}
	for i := range uint64((ops + stepsPerWorld - 1) / stepsPerWorld) {
		seed := first + i
		v := modelVariants[seed%uint64(len(modelVariants))]
		if !t.Run(fmt.Sprintf("seed %d: %s", seed, v.name), func(t *testing.T) { runModel(t, v, seed) }) {
			t.Logf("to repeat: CHANSEC_MODEL_SEED=%d CHANSEC_MODEL_OPS=%d go test -run TestModel .", seed, stepsPerWorld)
			return
		}
	}
}

func runModel(t *testing.T, v modelVariant, seed uint64) {
	steps := modelSteps(v, seed, stepsPerWorld)
	problem, at, _ := replay(t, v, seed, steps, false)
	if problem == "" {
		return
	}
	steps = shrink(steps[:at+1], func(steps []modelStep) bool {
		problem, _, _ := replay(t, v, seed, steps, false)
		return problem != ""
	})
	problem, _, trace := replay(t, v, seed, steps, true)
	t.Fatalf("seed %d, %s, %d operations:\n%s\n%s", seed, v.name, len(steps), strings.Join(trace, "\n"), problem)
}

func (v modelVariant) ops() []modelOp {
	list := slices.Clone(modelOps)
	if v.list {
		list = append(list, modelListOps...)
	}
	if v.tokens {
		list = append(list, modelTokenOps...)
	}
	return list
}

// modelSteps draws operations by weight.
func modelSteps(v modelVariant, seed uint64, n int) []modelStep {
	rng := rand.New(rand.NewPCG(seed, 0))
	var bag []int
	for i, op := range v.ops() {
		bag = append(bag, slices.Repeat([]int{i}, op.weight)...)
	}
	steps := make([]modelStep, n)
	for i := range steps {
		steps[i] = modelStep{bag[rng.IntN(len(bag))], rng.Uint64()}
	}
	return steps
}

// replay does steps in a fresh world, and returns the first difference, at which step it was, and what was done.
func replay(t *testing.T, v modelVariant, seed uint64, steps []modelStep, tracing bool) (problem string, at int, trace []string) {
	synctest.Test(t, func(*testing.T) {
		w := newModelWorld(v, rand.New(rand.NewPCG(seed, 1)))
		w.tracing = tracing
		defer w.end()
		for _, c := range w.channels {
			_ = c.Start(context.Background())
			c.ref.accepts = true
		}
		ops := v.ops()
		for i, s := range steps {
			w.rng = rand.New(rand.NewPCG(s.seed, 2))
			w.described = ""
			ops[s.op].do(w)
			w.done()
			if w.described != "" {
				trace = append(trace, fmt.Sprintf("%3d %s %s", i, time.Now().Format("05.000000"), w.described))
			}
			if w.problem != "" {
				problem, at = w.problem, i
				return
			}
		}
	})
	return problem, at, trace
}

// end closes everything, so that the bubble may end.
func (w *modelWorld) end() {
	for _, c := range w.channels {
		_ = c.Close()
		if c.waiter != nil {
			c.waiter.cancel()
		}
	}
}

// shrink leaves out what a failure does not need, in ever smaller pieces.
func shrink(steps []modelStep, fails func([]modelStep) bool) []modelStep {
	tries := 0
	for size := len(steps) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(steps) && tries < 3000; tries++ {
			shorter := slices.Delete(slices.Clone(steps), from, from+size)
			if fails(shorter) {
				steps = shorter
			} else {
				from += size
			}
		}
	}
	return steps
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}
