package strictjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const typicalClaims = `{"sub":"sensor-1","role":"write","exp":1763791200,"iat":1763787600,` +
	`"jti":"0198f0a2-7c1b-7d3e-9f52-3a6b1c0d4e5f","channels":["readings","alarms"]}`

func BenchmarkObject(b *testing.B) {
	b.Run("strictjson", func(b *testing.B) {
		var buffer [8]Member
		b.SetBytes(int64(len(typicalClaims)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Object(typicalClaims, buffer[:0], Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(typicalClaims)))
		b.ReportAllocs()
		for b.Loop() {
			var claims map[string]json.RawMessage
			if err := json.Unmarshal([]byte(typicalClaims), &claims); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHostile shows that no text costs much more per byte than another.
func BenchmarkHostile(b *testing.B) {
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `"%d":0,`, i)
	}
	for name, text := range map[string]string{
		"many_names":  "{" + many.String() + `"x":0}`,
		"long_names":  strings.ReplaceAll("{"+many.String()+`"x":0}`, `":0`, strings.Repeat("y", 100)+`":0`),
		"small":       "[" + strings.Repeat(`{"a":{}},`, 1000) + "0]",
		"escapes":     `"` + strings.Repeat(`\ud834\udd1e`, 1000) + `"`,
		"long_number": "0." + strings.Repeat("1", 10000),
		"deep":        strings.Repeat("[", 10000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				_ = Valid(text, Limits{})
			}
		})
	}
}
