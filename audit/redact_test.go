package audit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScriptsLoseTheirPasswords(t *testing.T) {
	for _, line := range []string{
		"", "  \t",
		`set roles for anonymous sessions ['A' "B", 'C']`, `set roles for named sessions`, `set roles for named sessions []`,
		`set 'R' permissions [VIEW_SERVER,  REGISTER_HANDLER]`, `SET "R" Default Path permissions [READ_TOPIC]`,
		`set 'R' topic 'a/b' permissions [READ_TOPIC]`, `set 'R' path 'a\'b' denials`, `  remove 'R' permissions for path "x"`,
		`set 'R' includes ['S']`, `set role 'R' locked by principal 'p'`, `isolate path 'x'`, `deisolate path 'x'`,
		`remove principal 'alice'`, `assign roles 'alice' ['R']`, `assign role 'alice' 'R' until '2030-01-31T12:00:00Z'`,
		`deny anonymous connections`, `allow anonymous connections ['R']`, `trust client proposed property 'p' if value in ['a']`,
		`trust client proposed property 'p' if value matches '\d+'`, `ignore client proposed property 'p'`,
	} {
		require.Equal(t, line, RedactScript(line))
	}
	for _, row := range []struct{ name, line, want string }{
		{"a new principal", `add principal 'alice' 'SECRET' ['R'] locked by 'bob'`, `add principal 'alice' ***`},
		{"another password", `set password "alice" "SECRET"`, `set password "alice" ***`},
		{"a proof", ` Verify PASSWORD 'al\'ice'  'SECRET'`, ` Verify PASSWORD 'al\'ice'  ***`},
		{"a mistyped command", `set pasword 'alice' 'SECRET'`, `***`},
		{"a command without quotes", `set password alice SECRET`, `***`},
		{"a string without an end", `set password 'alice 'SECRET'`, `***`},
		{"a comment", `# set password 'alice' 'SECRET'`, `***`},
		{"more than a command", `isolate path 'x' 'SECRET'`, `***`},
		{"a role in the place of a password", `assign role 'alice' 'SECRET'`, `***`},
		{"a permission that is none", `set 'R' permissions ['SECRET']`, `***`},
		{"no blank", `add principal 'alice''SECRET'`, `***`},
		{"another line end", "isolate path 'x'\rset password 'a' 'SECRET'", `***`},
	} {
		t.Run(row.name, func(t *testing.T) {
			require.Equal(t, row.want, RedactScript(row.line))
			require.Equal(t, "isolate path 'x'\r\n"+row.want+"\n\nisolate path 'y'", RedactScript("isolate path 'x'\r\n"+row.line+"\n\nisolate path 'y'"))
		})
	}
}

// FuzzRedactScript puts a password into a script. It does not come out again.
func FuzzRedactScript(f *testing.F) {
	f.Add("isolate path 'x'\n", " ['R']\n# done")
	f.Add("set 'R' permissions [", "]")
	f.Add("'", "'")
	f.Add("\r", "\u2028")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "q7Zk0password"
		if strings.Contains(before+after, secret) {
			return
		}
		for _, command := range []string{"set password 'alice' '", "add principal \"alice\" '", "verify password alice '"} {
			script := before + "\n" + command + secret + "'" + after
			got := RedactScript(script)
			require.NotContains(t, got, secret)
			require.Equal(t, strings.Count(script, "\n"), strings.Count(got, "\n"), "line by line")
		}
	})
}
