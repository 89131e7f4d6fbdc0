package valve_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve"
)

func BenchmarkEvaluate(b *testing.B) {
	payload := json.RawMessage(`{"text":"` + strings.Repeat("x", 40) + `","n":17,"tags":["a","b"],"at":1700000000,"by":"ann"}`)
	for _, bb := range []struct {
		name, rule string
		data       any
	}{
		{"constant", "true", nil},
		{"identity", "'user.id === $x'", nil},
		{"role", `"user.data.role === 'admin'"`, nil},
		{"payload of 100 bytes", `"data.n > 5 && data.text.length < 100"`, payload},
		{"payload and a list of the user", `"data.n > 5 && user.data.groups.includes('b')"`, payload},
		{"payload as objects", `"[data].length === 1 && data.n > 5"`, payload},
		{"regular expression", `"!!data.text.match(/^x+$/)"`, payload},
	} {
		b.Run(bb.name, func(b *testing.B) {
			rule := strings.ReplaceAll(bb.rule, "'user.id === $x'", `"user.id === $x"`)
			p := permit(b, map[valve.Section]string{valve.Event: `{"*": {}, "user/$x": {"publish": ` + rule + `}}`})
			q := &valve.Query{User: "ann", UserData: map[string]any{"role": "admin", "groups": []any{"a", "b"}}, Section: valve.Event, Action: valve.ActionEmit,
				Name: "user/ann", HasData: bb.data != nil, Data: bb.data}
			b.ReportAllocs()
			for b.Loop() {
				if res, err := p.Evaluate(b.Context(), q); err != nil || !res.Allowed {
					b.Fatal(res, err)
				}
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	r := newRules(b, valve.Config{Channels: []valve.Binding{{Channels: "*", Section: valve.Event}},
		Permissions: permit(b, map[valve.Section]string{valve.Event: `{"*": {}, "user/$x": {"publish": "user.id === $x"}}`})})
	req := chansec.Request{Principal: chansec.Principal{SystemID: "ann"}, ChannelID: "user/ann", Operation: chansec.OpWrite}
	b.ReportAllocs()
	for b.Loop() {
		if d, err := r.Decide(b.Context(), req); err != nil || !d.Allowed {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkPaths(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var section strings.Builder
			section.WriteString(`{"*": {}`)
			for i := range n {
				fmt.Fprintf(&section, `, "room%d/$x/m": {"publish": true}`, i)
			}
			p := permit(b, map[valve.Section]string{valve.Event: section.String() + "}"})
			q := &valve.Query{User: "ann", Section: valve.Event, Action: valve.ActionEmit, Name: fmt.Sprintf("room%d/ann/m", n/2)}
			b.ReportAllocs()
			for b.Loop() {
				if res, err := p.Evaluate(b.Context(), q); err != nil || !res.Allowed {
					b.Fatal(res, err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		p := permit(b, map[valve.Section]string{valve.Event: `{"*": {}, "user/$x": {"publish": "user.id === $x"}}`})
		require.NotNil(b, p)
	}
}
