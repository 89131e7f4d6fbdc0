package wampauth_test

import (
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
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

func TestARecordOfAnActionSaysWhoByWhichToken(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "publish", "com")
	c := w.ticket(chansec.TokenRequest{SystemID: "ann", AllChannels: true, Role: "write"})
	require.NoError(t, doPublish(c, "com.x"))
	refused(t, doPublish(c, "org.x"))
	require.NoError(t, doPublish(c, "com.x"))
	var login audit.Record
	var actions []audit.Record
	for r, err := range w.trail.Records(t.Context(), audit.Filter{}) {
		require.NoError(t, err)
		switch r.Operation {
		case audit.OpLogin:
			login = r
		case "publish":
			require.WithinDuration(t, time.Now(), r.Time, time.Minute)
			r.Seq, r.Time = 0, time.Time{}
			actions = append(actions, r)
		}
	}
	require.NotEmpty(t, login.TokenID)
	who := audit.Record{Kind: audit.KindDecision, Principal: "ann", Proof: login.Proof, TokenID: login.TokenID, Session: text(number(c)), Operation: "publish"}
	allowed, denied := who, who
	allowed.Target, allowed.Outcome, allowed.Reason, allowed.Rule, allowed.Version = "com.x", chansec.Allowed, "assigned", "com", w.store.Authorizer().Version()
	denied.Target, denied.Outcome, denied.Reason, denied.Version = "org.x", chansec.Denied, "no role allows it there", allowed.Version
	require.Equal(t, []audit.Record{allowed, denied, allowed}, actions)
}
