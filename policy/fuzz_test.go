package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzScript runs any text as a script. Whatever it leaves comes back from the store's own script.
func FuzzScript(f *testing.F) {
	for _, s := range []string{
		"", "# comment\n\nisolate path 'a'", "set 'A' permissions [VIEW_SERVER, VIEW_SESSION]", "SET \"a\\\"\" PATH 'x/y' permissions [read_topic]",
		"set 'A' includes ['B' 'C']\nset 'B' includes ['A']", "set role 'A' locked by principal ''", "remove 'A' permissions for topic 'x'",
		"assign roles 'p' ['A']\nassign role 'p' 'B' until '2030-01-01T00:00:00Z'", "set 'A' path 'x' denials [call]", "set roles for named sessions ['A',\t'B' ]\r",
		"set 'A' path '\\\\d\\'' permissions []", "isolate path \"a'b\\c\"",
		"add role 'ops' bound to 'adm'\nset 'ops' path 'role.adm.ops' permissions []\nadd topic 'a-b.c'\nremove topic 'a-b.c'",
		"add topic 'a'\nset role 'R' bound to 'role.x'\nset 'Q' path 'role.x.R' permissions [admin]\nassign roles 'p' ['R' 'Q']\nunassign role 'p' 'Q'",
		"add role 'R' bound to ''\nset 'Q' includes ['R']\nset roles for named sessions ['R']\nassign roles 'p' ['R']\nset 'R' path 'x' denials [call]\nremove role 'R'",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, diffusion bool) {
		c := WAMPConfig()
		c.DenyRows, c.Delegation = true, true
		if diffusion {
			c = DiffusionConfig()
		}
		s, err := New(c)
		require.NoError(t, err)
		if err := s.Update(t.Context(), Root(), func(tx *Tx) error { return tx.Run(text) }); err != nil {
			require.Zero(t, s.Version())
			return
		}
		script := s.Snapshot().Script()
		again, err := New(c)
		require.NoError(t, err)
		require.NoError(t, again.Restore(t.Context(), Root(), script))
		require.Equal(t, script, again.Snapshot().Script())
		require.NoError(t, s.Restore(t.Context(), Root(), script), "also into a store that is not empty")
		require.Equal(t, script, s.Snapshot().Script())
		require.Equal(t, again.current.Load().size, s.current.Load().size)
		require.NoError(t, s.Restore(t.Context(), Root(), ""))
		left := s.current.Load()
		require.Zero(t, left.size, "nothing is left of what was taken out")
		require.True(t, left.names.Empty() && left.roles.Empty() && left.principals.Empty() && left.tree.children.empty())
	})
}

// FuzzFile reads any text as a file of the log. What is taken is what would be written.
func FuzzFile(f *testing.F) {
	whole := Change{Revision: 7, Whole: true, At: time.Unix(1, 2), Actor: "it's", Script: "isolate path 'a'"}
	single := Change{Revision: 7, At: time.Unix(1, 2)}
	f.Add(encodeChange(whole), true)
	f.Add(encodeChange(single), false)
	f.Add([]byte("# policy revision 7\n# sha256 \n"), false)
	f.Fuzz(func(t *testing.T, text []byte, isWhole bool) {
		c, err := decodeChange(text, Change{Revision: 7, Whole: isWhole})
		if err != nil {
			require.ErrorIs(t, err, Damaged)
			return
		}
		again, err := decodeChange(encodeChange(c), Change{Revision: 7, Whole: isWhole})
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
