package chansec

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func mailboxOf(t *testing.T, opts ...Option) *MailboxChannel[string] {
	t.Helper()
	m, err := NewMailbox[string]("room", append([]Option{WithSecurity(OpenSecurity{})}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	require.NoError(t, m.Start(t.Context()))
	return m
}

// post writes messages "recipient:content"; the recipient "all" is everyone.
func post(t *testing.T, m *MailboxChannel[string], recipient string, list ...string) {
	t.Helper()
	for _, content := range list {
		var err error
		if recipient == "all" {
			_, err = m.As("postman").Write(t.Context(), content)
		} else {
			_, err = m.As("postman").WriteTo(t.Context(), recipient, content)
		}
		require.NoError(t, err)
	}
}

func TestMailIsSeenByItsRecipientAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		m := mailboxOf(t)
		alice, bob := collect(ctx, subscribe(t, m.As("alice"))), collect(ctx, subscribe(t, m.As("bob")))
		post(t, m, "alice", "a1")
		post(t, m, "bob", "b1")
		post(t, m, "all", "x1")
		post(t, m, "alice", "a2", "a3")
		post(t, m, "all", "x2")
		synctest.Wait()
		mine, theirs := []string{"a1", "x1", "a2", "a3", "x2"}, []string{"b1", "x1", "x2"}
		require.Equal(t, mine, alice.all(), "by lease")
		require.Equal(t, theirs, bob.all())
		for name, want := range map[string][]string{"alice": mine, "bob": theirs, "postman": {"x1", "x2"}, "Alice": {"x1", "x2"}} {
			got, err := m.As(name).Read(ctx, 10)
			require.NoError(t, err)
			require.Equal(t, want, contents(got), "by read, of %s", name)
		}
		c, err := m.As("bob").Claim(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, theirs, claimed(c), "by claim")
		require.Equal(t, "bob", c[0].Message.RecipientID)
		c, err = m.As("alice").Claim(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"a1", "a2", "a3"}, claimed(c), "what is for everyone is in bob's hands")
	})
}

// The walk goes over the mail of others, however much there is: a limit counts what is one's own.
func TestMailOfOthersDoesNotCountAgainstALimit(t *testing.T) {
	m := mailboxOf(t)
	post(t, m, "alice", "a1")
	for i := range 500 {
		post(t, m, fmt.Sprint("other-", i%7), "secret")
	}
	post(t, m, "alice", "a2", "a3")
	for _, want := range []string{"a1", "a2", "a3"} {
		got, err := m.As("alice").Read(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []string{want}, contents(got))
	}
	c, err := m.As("alice").Claim(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, []string{"a1", "a2"}, claimed(c))
}

func TestMailOfARecipientIsReadFromTheirOwnPlace(t *testing.T) {
	ctx := t.Context()
	m := mailboxOf(t)
	id, err := m.As("postman").WriteMessage(ctx, Message[string]{Content: "a1", RecipientID: "alice", SenderID: "postman"})
	require.NoError(t, err)
	post(t, m, "all", "x1")
	post(t, m, "alice", "a2")
	got, err := m.As("alice").ReadAfter(ctx, id, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"x1", "a2"}, contents(got))
	got, err = m.As("bob").ReadAfter(ctx, id, 10)
	require.NoError(t, err, "a message of somebody else names a place all the same")
	require.Equal(t, []string{"x1"}, contents(got))
	lease, err := m.As("alice").SubscribeAfter(ctx, id)
	require.NoError(t, err)
	require.Equal(t, []string{"x1", "a2"}, take(t, lease, 2))
}

func TestWaitForAMailIsNotWokenForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mailboxOf(t)
		got := make(chan string, 1)
		go func() {
			c, err := m.As("alice").ClaimNext(t.Context())
			if err == nil {
				got <- c.Message.Content
			}
		}()
		synctest.Wait()
		post(t, m, "bob", "b1")
		synctest.Wait()
		require.Empty(t, got)
		post(t, m, "alice", "a1")
		require.Equal(t, "a1", <-got)
	})
}

// A caller reads the mail of the one that they are, at each operation.
func TestMailOfAVerifiedCaller(t *testing.T) {
	ctx := t.Context()
	j := jwtOf(t)
	m := mailboxOf(t, WithSecurity(j))
	post(t, m, "alice", "a1")
	post(t, m, "bob", "b1")
	alice := holderOf(t, j, TokenRequest{SystemID: "alice", Role: RoleRead, AllChannels: true})
	got, err := m.For(alice).Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"a1"}, contents(got))

	p, err := alice.Principal()
	require.NoError(t, err)
	c := newSessionCaller(p)
	port := m.For(c)
	_, err = port.Read(ctx, 10)
	require.NoError(t, err)
	bob, err := holderOf(t, j, TokenRequest{SystemID: "bob", Role: RoleRead, AllChannels: true}).Principal()
	require.NoError(t, err)
	c.set(bob, nil)
	got, err = port.Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"b1"}, contents(got))
}

// The number of boxes is bounded like that of readers.
func TestMailToTooManyRecipients(t *testing.T) {
	ctx := t.Context()
	m := mailboxOf(t, WithMaxReaders(2))
	post(t, m, "alice", "a1")
	post(t, m, "bob", "b1")
	_, err := m.As("postman").WriteTo(ctx, "carol", "c1")
	require.Error(t, err)
	post(t, m, "alice", "a2")
	_, err = m.As("host").Clear(ctx)
	require.NoError(t, err)
	post(t, m, "carol", "c1")

	t.Run("is a limit", func(t *testing.T) {
		m := mailboxOf(t, WithMaxReaders(1))
		post(t, m, "alice", "a1")
		_, err := m.As("postman").WriteTo(ctx, "bob", "b1")
		require.ErrorIs(t, err, ErrLimit)
	})
}
