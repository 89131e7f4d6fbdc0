package memory

import "github.com/chansec/chansec/driver"

// once remembers the stamps of the last appends that asked to be done once.
type once struct {
	stamps map[string]driver.Stamp
	order  []string // a ring of the keys of stamps
	next   int
}

func (o *once) remember(key string, s driver.Stamp) {
	if o.stamps == nil {
		o.stamps = make(map[string]driver.Stamp)
	}
	if len(o.order) < driver.OnceWindow {
		o.order = append(o.order, key)
	} else {
		delete(o.stamps, o.order[o.next])
		o.order[o.next] = key
		o.next = (o.next + 1) % driver.OnceWindow
	}
	o.stamps[key] = s
}
