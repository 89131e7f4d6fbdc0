package sqlstore

import (
	"context"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestManyMayMigrateAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		const many = 6
		errs := make([]error, many)
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				s, err := x.openWith(context.Background(), Options{})
				if err == nil {
					err = s.Close()
				}
				errs[i] = err
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		var n int
		require.NoError(t, x.open(t, Options{}).db.QueryRow("select count(*) from sqlauth").Scan(&n))
		list, err := migrations(embedded)
		require.NoError(t, err)
		require.Len(t, list, n, "each was made once")
	})
}

// Whoever opens a database finds migrations that were made; what they are not, they refuse.
func TestMigrationsAreMadeInOrderAndNeverChange(t *testing.T) {
	const one, two, three = "create table one (a text)", "create table two (a text)", "create table three (a text)"
	for name, tt := range map[string]struct {
		then map[string]string
		want error
	}{
		"the same":                         {map[string]string{"0001_one": one, "0002_two": two}, nil},
		"one more":                         {map[string]string{"0001_one": one, "0002_two": two, "0003_three": three}, nil},
		"one more between":                 {map[string]string{"0001_one": one, "0002_two": two, "0000_none": three}, InvalidArgument},
		"another name for the same":        {map[string]string{"0001_uno": one, "0002_two": two}, nil},
		"a changed one":                    {map[string]string{"0001_one": one, "0002_two": two + ";"}, ChangedMigration},
		"one less, as in an older version": {map[string]string{"0001_one": one}, FutureSchema},
		"a changed one, and one less":      {map[string]string{"0001_one": two}, ChangedMigration},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				s := &Store{db: x.raw(t), dialect: x.dialect}
				migrate := func(scripts map[string]string) error {
					files := fstest.MapFS{}
					for name, text := range scripts {
						files["migrations/"+name+".sql"] = &fstest.MapFile{Data: []byte(text)}
					}
					list, err := migrations(files)
					if err != nil {
						return err
					}
					return s.migrate(t.Context(), list)
				}
				require.NoError(t, migrate(map[string]string{"0001_one": one, "0002_two": two}))
				err := migrate(tt.then)
				require.ErrorIs(t, err, tt.want)
				_, err = s.db.Exec("insert into three values ('x')")
				require.Equal(t, name == "one more", err == nil)
			})
		})
	}
}

// A migration that fails leaves nothing of itself, and what was before it.
func TestAMigrationThatFailsLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := &Store{db: x.raw(t), dialect: x.dialect}
		good := migration{1, "0001_good.sql", "create table good (a text)"}
		bad := migration{2, "0002_bad.sql", "create table half (a text); insert into nowhere values (1)"}
		require.ErrorContains(t, s.migrate(t.Context(), []migration{good, bad}), "0002_bad.sql")
		_, err := s.db.Exec("insert into half values ('x')")
		require.Error(t, err)
		bad.script = "create table half (a text)"
		require.NoError(t, s.migrate(t.Context(), []migration{good, bad}))
		_, err = s.db.Exec("insert into half values ('x')")
		require.NoError(t, err)
	})
}
