package main

import (
	"testing"
)

// TestAnswers opens every contender at a small size and checks its answers; then it does a few of the timed operations,
// which check theirs on the way.
func TestAnswers(t *testing.T) {
	for _, f := range families {
		for _, c := range f.contenders(smallScale) {
			t.Run(c.id(), func(t *testing.T) {
				l := &line{contender: c}
				w, err := c.openChecked()
				if err != nil {
					t.Fatal(err)
				}
				l.work = w
				defer l.shut()
				if _, _, err := l.measure("20x"); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestRows holds the list together: no contender twice, and at most one floor in a row.
func TestRows(t *testing.T) {
	ids, floors := map[string]bool{}, map[string]string{}
	for _, f := range families {
		for _, c := range f.contenders(fullScale) {
			if ids[c.id()] {
				t.Errorf("%s is listed twice", c.id())
			}
			ids[c.id()] = true
			if c.floor {
				if other := floors[c.row]; other != "" {
					t.Errorf("%s has two floors: %s and %s", c.row, other, c.name)
				}
				floors[c.row] = c.name
			}
		}
	}
}

func BenchmarkDecide(b *testing.B)  { benchFamily(b, families[0]) }
func BenchmarkPolicy(b *testing.B)  { benchFamily(b, families[1]) }
func BenchmarkRules(b *testing.B)   { benchFamily(b, families[2]) }
func BenchmarkChange(b *testing.B)  { benchFamily(b, families[3]) }
func BenchmarkToken(b *testing.B)   { benchFamily(b, families[4]) }
func BenchmarkDeliver(b *testing.B) { benchFamily(b, families[5]) }
func BenchmarkQueue(b *testing.B)   { benchFamily(b, families[6]) }
func BenchmarkRevoke(b *testing.B)  { benchFamily(b, families[7]) }
func BenchmarkHTTP(b *testing.B)    { benchFamily(b, families[8]) }

func benchFamily(b *testing.B, f family) {
	for _, c := range f.contenders(fullScale) {
		l := &line{contender: c}
		b.Run(c.id(), func(b *testing.B) {
			if l.work == nil { // the function is called again with a larger b.N
				w, err := c.openChecked()
				if err != nil {
					b.Fatal(err)
				}
				l.work = w
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := l.work.bench(b); err != nil {
				b.Fatal(err)
			}
		})
		l.shut()
	}
}
