package valve

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve/internal/v8"
)

// TestCasesOfLettersAgreeWithV8 compares the cases of all characters, and what is at the end of a word for capital sigmas.
func TestCasesOfLettersAgreeWithV8(t *testing.T) {
	c := newContest(t)
	var sigmas, all []string
	for r := rune(0); r <= unicode.MaxRune; r++ {
		// Node may know a later Unicode than Go: what Go does not know is left out, and what got a capital since.
		if !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cf) || strings.ContainsRune("ƛɤʕꟓꟕ", r) {
			continue
		}
		if r >= 0x80 {
			all = append(all, string(r))
		}
		if r < 0x2000 && (unicode.IsLetter(r) && !unicode.Is(unicode.Lo, r) || caseIgnorable(r) || r < 0x80) {
			sigmas = append(sigmas, "a"+string(r)+"Σ", string(r)+"Σ", "aΣ"+string(r), "aΣ"+string(r)+"b")
		}
	}
	for text, list := range map[string][]string{"data.a.toUpperCase()": all, "data.a.toLowerCase()": append(all, sigmas...), "'' + data.a.trim().length": all} {
		const together = 500
		var r v8.Rule
		var texts []string
		for len(list) > 0 {
			n := min(together, len(list))
			joined := ""
			for _, s := range list[:n] {
				joined += s + "-"
			}
			list = list[n:]
			encoded, err := json.Marshal(joined)
			require.NoError(t, err)
			texts = append(texts, string(encoded))
			r.Cases = append(r.Cases, v8.Case{User: "ann", UserData: "null", Data: `{"a":` + string(encoded) + `}`, Name: "r/a", Variables: []string{"a"}, Records: map[string]string{}})
		}
		r.Ask, r.Text, r.Kind, r.Variables = "rule", text, "write", []string{"$x"}
		next := r
		next.Text, next.Cases = text+" !== data.w", nil
		for i, o := range c.put([]v8.Rule{r})[0].Cases {
			like := r.Cases[i]
			like.Data = fmt.Sprintf(`{"a":%s,"w":%s}`, texts[i], asText(o))
			next.Cases = append(next.Cases, like)
		}
		c.put([]v8.Rule{next})
	}
	c.report()
}
