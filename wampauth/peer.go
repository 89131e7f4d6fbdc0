package wampauth

import (
	"sync/atomic"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
)

// CopyEvents returns a router for transports, such as a WebsocketServer of nexus: a guard lets in only clients that come by it.
// With nexus' own, all who get an event share the map of its details, into which the broker goes on writing while others are
// being sent it, where a subscription has a pattern: this ends the process (issues 322 and 343 of nexus). It copies the map for
// clients within the program only, so those that are let in are made to look like them to the broker.
func CopyEvents(r router.Router) router.Router { return copying{r} }

type copying struct{ router.Router }

func (c copying) Attach(p wamp.Peer) error { return c.AttachClient(p, nil) }

func (c copying) AttachClient(p wamp.Peer, transport wamp.Dict) error {
	if !p.IsLocal() {
		p = &copied{Peer: p}
	}
	return c.Router.AttachClient(p, transport)
}

// copied is a client that gets copies once it was let in. To the realm, which lets in local clients without a proof, it is none
// before; what it does is checked all the same, by RequireLocalAuthz.
type copied struct {
	wamp.Peer
	in atomic.Bool
}

func (c *copied) IsLocal() bool { return c.in.Load() }
