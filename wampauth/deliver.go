package wampauth

import (
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
)

// delivery is who gets one event. It runs in the broker's only loop, and looks into memory only.
type delivery struct {
	guard *Guard
	topic string
	lists router.PublishFilter // whom the publisher excluded or chose; nil for none
}

func (g *Guard) deliver(msg *wamp.Publish) router.PublishFilter {
	topic, lists := string(msg.Topic), router.NewSimplePublishFilter(msg)
	if last := g.delivered.Load(); lists == nil && last != nil && last.topic == topic {
		return last // it changes nothing and knows nothing of the event but its topic
	}
	d := &delivery{g, topic, lists}
	if lists == nil {
		g.delivered.Store(d)
	}
	return d
}

// isLocal reports whether a session is a client within the program. The router says so only of these, whatever clients say.
func isLocal(s *wamp.Session) bool { return s.Details["authmethod"] == "local" }

// Allowed reports whether a session may have the event: it may subscribe to that very topic now.
func (d *delivery) Allowed(s *wamp.Session) bool {
	if d.lists != nil && !d.lists.Allowed(s) {
		return false
	}
	m := d.guard.members.Get(s.ID)
	if m == nil {
		return isLocal(s)
	}
	if d.guard.alive(m) != nil || d.topic == "" || len(d.topic) > MaxName || !m.covers(subscribe, d.topic, "") {
		return false
	}
	is, err := d.guard.remember(&m.heard, m, subscribe, d.topic)
	if err != nil {
		d.guard.complain("nobody could decide on a delivery", err)
	}
	return is.Allowed
}
