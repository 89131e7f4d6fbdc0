package wampauth

import "github.com/gammazero/nexus/v3/wamp"

// Copied is a client as it comes by CopyEvents.
func Copied(p wamp.Peer) wamp.Peer { return &copied{Peer: p} }
