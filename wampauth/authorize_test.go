package wampauth_test

import (
	"testing"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"
)

func TestASessionMayDoWhatThePolicySays(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "publish", "com.home")
	w.grant("bob", "subscribe", "com.home.door")
	ann, bob := w.login("ann"), w.login("bob")
	events := make(chan *wamp.Event, 10)
	require.NoError(t, doSubscribe(bob, "com.home.door", "", events))
	refused(t, doSubscribe(bob, "com.home", "", events))
	require.NoError(t, doPublish(ann, "com.home.door"))
	arrives(t, events, "com.home.door")
	refused(t, doPublish(ann, "com"))
	refused(t, doPublish(bob, "com.home.door"))

	_, err := doCall(ann, "com.home.open")
	refused(t, err)
	w.grant("ann", "call", "com.home.open")
	w.grant("bob", "register", "com.home.open")
	require.NoError(t, doRegister(bob, "com.home.open", ""))
	refused(t, doRegister(bob, "com.home.close", ""))
	answer, err := doCall(ann, "com.home.open")
	require.NoError(t, err)
	require.Equal(t, "done", answer)
	require.Equal(t, []string{"publish com.home.door allowed", "publish com denied", "call com.home.open denied", "call com.home.open allowed"},
		w.did("ann", "publish", "call"))
}
