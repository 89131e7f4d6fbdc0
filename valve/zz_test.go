package valve
import ("testing";"strings";"encoding/json";"runtime";"time";"fmt";"sort")
func TestZZ(t *testing.T) {
	pay := hostile()
	a := strings.Repeat("a", 60_000)
	pay["long ascii"] = json.RawMessage(`{"s": "`+a+`", "p": "b"}`)
	pay["long é"] = json.RawMessage(`{"s": "`+strings.Repeat("é", 30_000)+`", "p": "b"}`)
	pay["long ΐ"] = json.RawMessage(`{"s": "`+strings.Repeat("ΐ", 30_000)+`", "p": "b"}`)
	pay["long emoji"] = json.RawMessage(`{"s": "`+strings.Repeat("𝄞", 15_000)+`", "p": "b"}`)
	pay["escaped"] = json.RawMessage(`{"s": "`+strings.Repeat("\\u00e9", 10_000)+`", "p": "b"}`)
	pay["nested text"] = json.RawMessage(`{"s": `+strings.Repeat("[",190)+`"`+a+`"`+strings.Repeat("]",190)+`, "p": "b"}`)
	pay["nested é"] = json.RawMessage(`{"s": `+strings.Repeat("[",190)+`"`+strings.Repeat("é", 30_000)+`"`+strings.Repeat("]",190)+`, "p": "b"}`)
	pay["empty texts"] = json.RawMessage(`{"s": [`+strings.TrimSuffix(strings.Repeat(`"",`,21_000),",")+`], "p": "b"}`)
	pay["short texts"] = json.RawMessage(`{"s": [`+strings.TrimSuffix(strings.Repeat(`"é",`,12_000),",")+`], "p": "b"}`)
	pay["numbers"] = json.RawMessage(`{"s": [`+strings.TrimSuffix(strings.Repeat(`1,`,1_900),",")+`], "p": "b"}`)
	pay["lists"] = json.RawMessage(`{"s": [`+strings.TrimSuffix(strings.Repeat(`[],`,21_000),",")+`], "p": "b"}`)
	pay["lists2"] = json.RawMessage(`{"s": [`+strings.TrimSuffix(strings.Repeat(`[],`,1_900),",")+`], "p": "b"}`)
	pay["objects"] = json.RawMessage(`{"s": [`+strings.TrimSuffix(strings.Repeat(`{},`,1_850),",")+`], "p": "b"}`)
	var keys strings.Builder
	for i := range 1600 { fmt.Fprintf(&keys, `"k%d":1,`, i) }
	pay["keys"] = json.RawMessage(`{"s": {`+strings.TrimSuffix(keys.String(),",")+`}, "p": "b"}`)
	keys.Reset()
	for i := range 5000 { fmt.Fprintf(&keys, `"k%d":"",`, i) }
	pay["keys2"] = json.RawMessage(`{"s": {`+strings.TrimSuffix(keys.String(),",")+`}, "p": "b"}`)
	type row struct{n uint64; d time.Duration; w string}
	var rows []row
	for _, rule := range append(hungry, "data.s", "[data.s, data.s]", "data.s === data.p", "+data.s", "data.s < 5", "-data.s", "data.s in data", "data[data.s]", "({...data.s})", "[...data.s]", "[...data.s, ...data.s]","data.s.match(/./g)","data.s.match(/a/)", "data.s.match('b')","data.s + data.s", "data.s.indexOf('b')", "data.s.includes('é')") {
		p, err := publishing(t, rule)
		if err != nil { t.Log(rule, err); continue }
		for name, payload := range pay {
			q := asked(payload)
			p.Evaluate(t.Context(), asked(nil))
			runtime.GC()
			var b, a runtime.MemStats
			runtime.ReadMemStats(&b)
			t0 := time.Now()
			_, err := p.Evaluate(t.Context(), q)
			d := time.Since(t0)
			runtime.ReadMemStats(&a)
			rows = append(rows, row{(a.TotalAlloc-b.TotalAlloc)>>10, d, rule+" | "+name+" | "+fmt.Sprint(err != nil)})
		}
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].n > rows[j].n })
	for _, r := range rows[:40] { fmt.Println(r.n, "KiB", r.d, r.w) }
	sort.Slice(rows, func(i, j int) bool { return rows[i].d > rows[j].d })
	for _, r := range rows[:12] { fmt.Println(r.n, "KiB", r.d, r.w) }
}
