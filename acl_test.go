package chansec

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// underRace reports whether the race detector is on, under which everything takes ten times as long.
var underRace = sync.OnceValue(func() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})

// fewer returns n, or a tenth of it under the race detector or with -short.
func fewer(n int) int {
	if underRace() || testing.Short() {
		return n / 10
	}
	return n
}

// countFrom returns the number in an environment variable, or n.
func countFrom(t testing.TB, variable string, n int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return n
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func entry(systemID string, role Role) ACLEntry {
	return ACLEntry{SystemID: systemID, Role: role, AllChannels: true}
}

func entryOn(systemID string, role Role, channelID string) ACLEntry {
	return ACLEntry{SystemID: systemID, Role: role, ChannelID: channelID}
}

func entryUntil(e ACLEntry, until time.Time) ACLEntry {
	e.ExpiresAt = until
	return e
}

// TestACLListsAreNotCrossFilled: a name in one list is in that one only, and yet may do what the role includes.
func TestACLListsAreNotCrossFilled(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		acl  *ACLSecurity
		take Role
		left []ACLEntry
	}{
		{"taking write from the write list leaves nothing", aclWith(t, ACLWrite("s")), RoleWrite, nil},
		{"taking admin from the admin list leaves nothing", aclWith(t, ACLAdmin("s")), RoleAdmin, nil},
		{"taking write from the admin list leaves nothing", aclWith(t, ACLAdmin("s")), RoleWrite, nil},
		{"who is on two lists keeps the other", aclWith(t, ACLAdmin("s"), ACLRead("s")), RoleAdmin, []ACLEntry{entry("s", RoleRead)}},
		{"taking write from who was granted it leaves read", granted(t, RoleWrite), RoleWrite, []ACLEntry{entry("s", RoleRead)}},
		{"taking admin from who was granted it leaves write", granted(t, RoleAdmin), RoleAdmin, []ACLEntry{entry("s", RoleWrite)}},
	} {
		took, err := row.acl.RevokeRole("s", row.take)
		require.NoError(t, err)
		require.True(t, took, row.name)
		require.Equal(t, row.left, row.acl.Entries(), row.name)
	}
}

func granted(t testing.TB, role Role) *ACLSecurity {
	a := aclWith(t)
	require.NoError(t, a.Grant("s", role))
	return a
}

// TestACLChanges says of every way to change the list what is on it afterwards.
func TestACLChanges(t *testing.T) {
	t.Parallel()
	ok := func(t *testing.T, err error) { t.Helper(); require.NoError(t, err) }
	took := func(want bool) func(t *testing.T, got bool, err error) {
		return func(t *testing.T, got bool, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	for _, row := range []struct {
		name   string
		change func(*testing.T, *ACLSecurity)
		want   []ACLEntry
	}{
		{"a new list is empty", func(t *testing.T, a *ACLSecurity) {}, nil},
		{"a role in any letters", func(t *testing.T, a *ACLSecurity) { ok(t, a.Grant("s", "WRITE")) }, []ACLEntry{entry("s", RoleWrite)}},
		{"a lower role later takes nothing away", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleAdmin))
			ok(t, a.Grant("s", RoleRead))
		}, []ACLEntry{entry("s", RoleAdmin)}},
		{"names are bytes", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleRead))
			ok(t, a.Grant("S", RoleWrite))
			ok(t, a.Grant("\u00e9", RoleRead))
			ok(t, a.Grant("e\u0301", RoleAdmin))
		}, []ACLEntry{entry("S", RoleWrite), entry("e\u0301", RoleAdmin), entry("s", RoleRead), entry("\u00e9", RoleRead)}},
		{"two channels, and all of them for less", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.GrantOn("s", RoleAdmin, "b", "a"))
			ok(t, a.Grant("s", RoleRead))
		}, []ACLEntry{entry("s", RoleRead), entryOn("s", RoleAdmin, "a"), entryOn("s", RoleAdmin, "b")}},
		{"one call may grant the same twice", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.GrantOn("s", RoleRead, "a", "a"))
			ok(t, a.Add(entryOn("s", RoleWrite, "a"), entryOn("s", RoleRead, "a"), entry("s", RoleRead), entry("s", RoleRead)))
		}, []ACLEntry{entry("s", RoleRead), entryOn("s", RoleWrite, "a")}},
		{"entries of several systems in one call", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Add(entry("y", RoleRead), entryOn("x", RoleRead, "a"), entryOn("y", RoleWrite, "b"), entry("x", RoleRead)))
		}, []ACLEntry{entry("x", RoleRead), entryOn("x", RoleRead, "a"), entry("y", RoleRead), entryOn("y", RoleWrite, "b")}},
		{"nothing is added", func(t *testing.T, a *ACLSecurity) { ok(t, a.Add()) }, nil},
		{"what Entries returned can be added elsewhere", func(t *testing.T, a *ACLSecurity) {
			other := aclWith(t, ACLRead("r"))
			ok(t, other.GrantOn("s", RoleAdmin, "a"))
			ok(t, a.Add(other.Entries()...))
		}, []ACLEntry{entry("r", RoleRead), entryOn("s", RoleAdmin, "a")}},

		{"revoking takes all, everywhere", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleRead))
			ok(t, a.GrantOn("s", RoleAdmin, "a", "b"))
			ok(t, a.Grant("other", RoleRead))
			require.True(t, a.Revoke("s"))
		}, []ACLEntry{entry("other", RoleRead)}},
		{"revoking who has something on a channel only", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.GrantOn("s", RoleRead, "a"))
			require.True(t, a.Revoke("s"))
		}, nil},
		{"revoking again takes nothing", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleRead))
			require.True(t, a.Revoke("s"))
			require.False(t, a.Revoke("s"))
			require.False(t, a.Revoke("nobody"))
			require.False(t, a.Revoke(""))
		}, nil},
		{"what was revoked does not come back with the next grant", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.GrantOn("s", RoleAdmin, "a", "b"))
			require.True(t, a.Revoke("s"))
			ok(t, a.GrantOn("s", RoleRead, "a"))
		}, []ACLEntry{entryOn("s", RoleRead, "a")}},

		{"taking a role takes it on every channel", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleWrite))
			ok(t, a.GrantOn("s", RoleAdmin, "a", "b"))
			took(true)(t, must(a.RevokeRole("s", RoleWrite)), nil)
		}, []ACLEntry{entry("s", RoleRead), entryOn("s", RoleRead, "a"), entryOn("s", RoleRead, "b")}},
		{"taking read takes everything", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleAdmin))
			ok(t, a.GrantOn("s", RoleWrite, "a"))
			took(true)(t, must(a.RevokeRole("s", "READ")), nil)
			require.False(t, a.Revoke("s"))
		}, nil},
		{"taking a role that is not held takes nothing", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleRead))
			ok(t, a.GrantOn("s", RoleWrite, "a"))
			took(false)(t, must(a.RevokeRole("s", RoleAdmin)), nil)
			took(false)(t, must(a.RevokeRole("nobody", RoleRead)), nil)
		}, []ACLEntry{entry("s", RoleRead), entryOn("s", RoleWrite, "a")}},
		{"what was taken does not come back with the next grant", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.GrantOn("s", RoleAdmin, "a", "b"))
			took(true)(t, must(a.RevokeRole("s", RoleRead)), nil)
			ok(t, a.GrantOn("s", RoleRead, "a"))
		}, []ACLEntry{entryOn("s", RoleRead, "a")}},

		{"taking a role on a channel leaves the others", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.GrantOn("s", RoleAdmin, "a", "b"))
			took(true)(t, must(a.RevokeOn("s", RoleWrite, "a")), nil)
		}, []ACLEntry{entryOn("s", RoleRead, "a"), entryOn("s", RoleAdmin, "b")}},
		{"what is held on all channels is held on that one, too", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.Grant("s", RoleWrite))
			ok(t, a.GrantOn("s", RoleAdmin, "a"))
			took(true)(t, must(a.RevokeOn("s", RoleRead, "a")), nil)
			took(false)(t, must(a.RevokeOn("s", RoleRead, "a")), nil)
			require.Equal(t, [3]bool{true, true, false}, rightsOf(t, a, "s", "a"))
		}, []ACLEntry{entry("s", RoleWrite)}},
		{"taking the last role on the last channel leaves nothing", func(t *testing.T, a *ACLSecurity) {
			ok(t, a.GrantOn("s", RoleRead, "a"))
			took(false)(t, must(a.RevokeOn("s", RoleRead, "b")), nil)
			took(true)(t, must(a.RevokeOn("s", RoleRead, "a")), nil)
			require.False(t, a.Revoke("s"))
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a := aclWith(t)
			row.change(t, a)
			require.Equal(t, row.want, a.Entries())
			for _, e := range a.Entries() {
				for rank, ok := range rightsOf(t, a, e.SystemID, cmp.Or(e.ChannelID, "any")) {
					require.True(t, ok || rank >= e.Role.rank(), "%+v", e)
				}
				_, err := a.Authenticate(t.Context(), e.SystemID)
				require.NoError(t, err)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestACLRefusals: what makes no sense is an InvalidError that names it, and changes nothing.
func TestACLRefusals(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 513)
	past := time.Now().Add(-time.Second)
	for _, row := range []struct {
		name string
		do   func(*ACLSecurity) error
		says string
	}{
		{"a role that is none", func(a *ACLSecurity) error { return a.Grant("s", "superuser") }, `role "superuser"`},
		{"no role", func(a *ACLSecurity) error { return a.Grant("s", "") }, `role ""`},
		{"a role that is none, on a channel", func(a *ACLSecurity) error { return a.GrantOn("s", "root", "c") }, `role "root"`},
		{"a role that is none, taken", func(a *ACLSecurity) error { took, err := a.RevokeRole("listed", "root"); return noneBeside(took, err) }, `role "root"`},
		{"a role that is none, taken on a channel", func(a *ACLSecurity) error {
			took, err := a.RevokeOn("listed", "root", "c")
			return noneBeside(took, err)
		}, `role "root"`},
		{"a channel that is none, taken on", func(a *ACLSecurity) error {
			took, err := a.RevokeOn("listed", RoleRead, "")
			return noneBeside(took, err)
		}, `channel id ""`},
		{"no system", func(a *ACLSecurity) error { return a.Grant("", RoleRead) }, `system id ""`},
		{"a system of 513 bytes", func(a *ACLSecurity) error { return a.Grant(long, RoleRead) }, "513 bytes"},
		{"a system with a control character", func(a *ACLSecurity) error { return a.Grant("a\nb", RoleRead) }, `"a\nb"`},
		{"no channels", func(a *ACLSecurity) error { return a.GrantOn("s", RoleRead) }, "at least one channel id"},
		{"an empty channel", func(a *ACLSecurity) error { return a.GrantOn("s", RoleRead, "a", "") }, `channel id ""`},
		{"a channel of 513 bytes", func(a *ACLSecurity) error { return a.GrantOn("s", RoleRead, long) }, "513 bytes"},
		{"an entry for nothing", func(a *ACLSecurity) error { return a.Add(entryOn("s", RoleRead, "")) }, `channel id ""`},
		{"an entry for all channels and one", func(a *ACLSecurity) error {
			return a.Add(ACLEntry{SystemID: "s", Role: RoleRead, AllChannels: true, ChannelID: "c"})
		}, "not both"},
		{"an entry that is over", func(a *ACLSecurity) error { return a.Add(entryUntil(entry("s", RoleRead), past)) }, "a time to come"},
		{"an entry for a channel that is over", func(a *ACLSecurity) error { return a.Add(entryUntil(entryOn("s", RoleRead, "c"), past)) }, "a time to come"},
		{"one of several", func(a *ACLSecurity) error {
			return a.Add(entry("s", RoleRead), entry("t", RoleRead), entry("u", "root"))
		}, `role "root"`},
		{"a token for no channel", func(a *ACLSecurity) error {
			_, err := a.GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: RoleRead})
			return err
		}, "no channels"},
	} {
		a := aclWith(t, ACLAdmin("listed"))
		version := a.Version()
		err := row.do(a)
		require.ErrorIs(t, err, ErrInvalid, row.name)
		require.ErrorContains(t, err, row.says, row.name)
		require.Equal(t, []ACLEntry{entry("listed", RoleAdmin)}, a.Entries(), row.name)
		require.Equal(t, version, a.Version(), row.name)
	}
	for name, opts := range map[string][]ACLOption{
		"no option":            {nil},
		"a reader of no name":  {ACLRead("")},
		"a writer of no name":  {ACLWrite("w", "")},
		"an admin of no name":  {ACLAdmin("a\x00")},
		"no entries at most":   {ACLMaxEntries(0)},
		"fewer than none":      {ACLMaxEntries(-1)},
		"more than fit":        {ACLMaxEntries(1<<31 + 1)},
		"the second of two":    {ACLRead("r"), nil},
		"more than the limits": {ACLMaxEntries(1), ACLRead("a", "b")},
	} {
		a, err := NewACLSecurity(opts...)
		require.Error(t, err, name)
		require.Nil(t, a, name)
		if name != "more than the limits" {
			require.ErrorIs(t, err, ErrInvalid, name)
		}
	}
	for _, n := range []int{1, 1 << 31} {
		aclWith(t, ACLMaxEntries(n))
	}
}

// noneBeside returns the error, unless something was reported to be taken beside it.
func noneBeside(took bool, err error) error {
	if took {
		return nil
	}
	return err
}

// TestACLChangesAreAnnounced: once, before the call returns, and only if there was one.
func TestACLChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	a := aclWith(t)
	announced := func(want bool, do func()) {
		t.Helper()
		before, changed := a.Version(), a.Changed()
		do()
		select {
		case <-changed:
			require.True(t, want)
			require.Equal(t, before+1, a.Version())
		default:
			require.False(t, want)
			require.Equal(t, before, a.Version())
		}
	}
	announced(true, func() { require.NoError(t, a.Grant("s", RoleAdmin)) })
	announced(true, func() { require.NoError(t, a.GrantOn("s", RoleAdmin, "a", "b")) })
	announced(true, func() { must(a.RevokeOn("s", RoleAdmin, "a")) })
	announced(false, func() { must(a.RevokeOn("s", RoleAdmin, "a")) })
	announced(true, func() { must(a.RevokeRole("s", RoleAdmin)) })
	announced(false, func() { must(a.RevokeRole("s", RoleAdmin)) })
	announced(true, func() { require.True(t, a.Revoke("s")) })
	announced(false, func() { require.False(t, a.Revoke("s")) })
	announced(true, func() { mint(t, a, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true}) })
	require.NotNil(t, a.Changed())
	require.Equal(t, a.Changed(), a.Changed(), "the same until the next change")
}

// TestACLLeavesTheCallersSliceAlone: neither sorted nor spelt anew.
func TestACLLeavesTheCallersSliceAlone(t *testing.T) {
	t.Parallel()
	given := []ACLEntry{entry("b", "READ"), entryOn("a", "Write", "c"), entry("b", RoleAdmin)}
	kept := slices.Clone(given)
	require.NoError(t, aclWith(t).Add(given...))
	require.Equal(t, kept, given)
}

// TestACLSaysWhomItsChangesWereAbout: it is a hint, and none where it does not know.
func TestACLSaysWhomItsChangesWereAbout(t *testing.T) {
	t.Parallel()
	a := aclWith(t, ACLRead("x"))
	start := a.Version()
	require.Empty(t, a.AffectedSince(start))
	require.NoError(t, a.Add(entry("b", RoleRead), entryOn("a", RoleRead, "c"), entry("b", RoleWrite)))
	must(a.RevokeRole("a", RoleRead))
	require.True(t, a.Revoke("b"))
	require.Equal(t, []string{"a", "b", "a", "b"}, a.AffectedSince(start))
	require.Equal(t, []string{"b"}, a.AffectedSince(a.Version()-1))
	for range 60 {
		require.NoError(t, a.Grant("b", RoleRead))
	}
	require.Len(t, a.AffectedSince(start), 64)
	require.NoError(t, a.Grant("b", RoleRead))
	require.Nil(t, a.AffectedSince(start), "too many to know")

	j := jwtWith(t, hs256(t, "k"))
	require.NoError(t, j.RevokeSubject("s", time.Now()))
	require.Equal(t, []string{"s"}, j.AffectedSince(0))
	require.NoError(t, j.RevokeToken("7", time.Time{}))
	require.Nil(t, j.AffectedSince(0), "whose token that is, is not known")
}

// TestACLPairsAreNotConfused: no two pairs of names are ever taken for each other.
func TestACLPairsAreNotConfused(t *testing.T) {
	t.Parallel()
	a := aclWith(t)
	require.NoError(t, a.GrantOn("a_b", RoleRead, "c"))
	require.NoError(t, a.GrantOn("ab", RoleRead, "cd"))
	require.NoError(t, a.GrantOn("x/y", RoleRead, "z"))
	for _, pair := range [][2]string{
		{"a", "b_c"}, {"a_b_c", ""}, {"a_b", ""}, {"", "a_bc"}, {"abc", "d"}, {"a", "bcd"}, {"ab", "c"}, {"ab", "cde"}, {"cd", "ab"},
		{"x", "y/z"}, {"x/y/z", ""}, {"x/y", "Z"}, {"a_b", "c "}, {"", ""}, {"c", "a_b"},
	} {
		require.Equal(t, [3]bool{}, rightsOf(t, a, pair[0], pair[1]), "%q", pair)
	}
}

// TestACLTokensAreListedNames: a token names somebody only as long as they are listed for anything, and proves nothing.
func TestACLTokensAreListedNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := aclWith(t, ACLRead("everywhere"))
		require.NoError(t, a.GrantOn("somewhere", RoleRead, "c", "d"))
		require.NoError(t, a.Add(entryUntil(entryOn("somewhere, soon nowhere", RoleWrite, "c"), time.Now().Add(time.Minute))))
		for _, name := range []string{"everywhere", "somewhere", "somewhere, soon nowhere"} {
			require.Equal(t, Principal{SystemID: name}, authenticated(t, a, name), "without proof, without bound")
		}
		refused := func(names ...string) {
			t.Helper()
			for _, name := range names {
				p, err := a.Authenticate(t.Context(), name)
				require.ErrorIs(t, err, ErrUnauthenticated, "%q", name)
				require.Zero(t, p)
			}
		}
		refused("", "nobody", "Everywhere", "everywhere ", "c", "\xff", strings.Repeat("x", 1<<16))
		time.Sleep(time.Minute)
		refused("somewhere, soon nowhere")
		must(a.RevokeOn("somewhere", RoleRead, "c"))
		authenticated(t, a, "somewhere")
		must(a.RevokeOn("somewhere", RoleRead, "d"))
		require.True(t, a.Revoke("everywhere"))
		refused("everywhere", "somewhere")

		require.NoError(t, a.GrantOn("lost one, other is over", RoleRead, "c"))
		require.NoError(t, a.Add(entryUntil(entryOn("lost one, other is over", RoleRead, "d"), time.Now().Add(time.Minute))))
		must(a.RevokeOn("lost one, other is over", RoleRead, "c"))
		authenticated(t, a, "lost one, other is over")
		time.Sleep(time.Minute)
		refused("lost one, other is over")
	})
}

// TestACLGenerateToken: what is asked for is what is listed, where and until when.
func TestACLGenerateToken(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		req  TokenRequest
		want []ACLEntry
		last time.Duration
	}{
		{"all channels for the default time", TokenRequest{Role: RoleRead, AllChannels: true}, []ACLEntry{entry("s", RoleRead)}, 24 * time.Hour},
		{"one channel for an hour", TokenRequest{Role: RoleWrite, Channels: []string{"c"}, ExpiresIn: time.Hour}, []ACLEntry{entryOn("s", RoleWrite, "c")}, time.Hour},
		{"two channels for a nanosecond", TokenRequest{Role: "ADMIN", Channels: []string{"c", "d"}, ExpiresIn: 1}, []ACLEntry{entryOn("s", RoleAdmin, "c"), entryOn("s", RoleAdmin, "d")}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := aclWith(t)
				row.req.SystemID = "s"
				for i := range row.want {
					row.want[i].ExpiresAt = time.Now().Add(row.last)
				}
				require.Equal(t, "s", mint(t, a, row.req))
				entries := a.Entries()
				require.Len(t, entries, len(row.want))
				for i := range entries {
					require.True(t, entries[i].ExpiresAt.Equal(row.want[i].ExpiresAt))
					entries[i].ExpiresAt = row.want[i].ExpiresAt
				}
				require.Equal(t, row.want, entries)
				time.Sleep(row.last - 1)
				authenticated(t, a, "s")
				time.Sleep(time.Nanosecond)
				_, err := a.Authenticate(t.Context(), "s")
				require.ErrorIs(t, err, ErrUnauthenticated)
				require.Empty(t, a.Entries())
			})
		})
	}
}

// TestACLExpiryIsExact: to the nanosecond, by itself, and what is held for longer is not shortened.
func TestACLExpiryIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := func(d time.Duration) time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d) }
		a := aclWith(t)
		require.NoError(t, a.Add(
			entryUntil(entry("s", RoleRead), at(10*time.Second)),
			entryUntil(entryOn("s", RoleAdmin, "c"), at(20*time.Second)),
			entryUntil(entryOn("s", RoleWrite, "c"), at(30*time.Second)),
			entryUntil(entryOn("s", RoleRead, "c"), at(5*time.Second)), // held until 30 through write
		))
		require.NoError(t, a.Grant("for ever", RoleRead))
		require.NoError(t, a.Add(entryUntil(entry("for ever", RoleRead), at(time.Second)))) // shortens nothing
		require.NoError(t, a.Add(entryUntil(entry("far", RoleRead), time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC))))
		require.NoError(t, a.Add(entryUntil(entry("too far", RoleRead), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))))

		until := func(system, channel string, op Operation) time.Time {
			t.Helper()
			d, err := a.Decide(t.Context(), Request{Principal: Principal{SystemID: system}, ChannelID: channel, Operation: op})
			require.NoError(t, err)
			require.True(t, d.Allowed)
			return d.Until
		}
		require.True(t, until("s", "d", OpRead).Equal(at(10*time.Second)))
		require.True(t, until("s", "c", OpClear).Equal(at(20*time.Second)))
		require.True(t, until("s", "c", OpWrite).Equal(at(30*time.Second)))
		require.True(t, until("s", "c", OpRead).Equal(at(30*time.Second)))
		require.Zero(t, until("for ever", "c", OpRead))
		require.Equal(t, 2261, until("far", "c", OpRead).UTC().Year())
		require.Zero(t, until("too far", "c", OpRead), "beyond what nanoseconds count is for ever")

		version := a.Version()
		for _, step := range []struct {
			at   time.Duration
			c, d [3]bool
		}{
			{10*time.Second - 1, [3]bool{true, true, true}, [3]bool{true, false, false}},
			{10 * time.Second, [3]bool{true, true, true}, [3]bool{}},
			{20*time.Second - 1, [3]bool{true, true, true}, [3]bool{}},
			{20 * time.Second, [3]bool{true, true, false}, [3]bool{}},
			{30*time.Second - 1, [3]bool{true, true, false}, [3]bool{}},
			{30 * time.Second, [3]bool{}, [3]bool{}},
		} {
			time.Sleep(time.Until(at(step.at)))
			require.Equal(t, step.c, rightsOf(t, a, "s", "c"), step.at)
			require.Equal(t, step.d, rightsOf(t, a, "s", "d"), step.at)
			_, err := a.Authenticate(t.Context(), "s")
			require.Equal(t, step.c[0], err == nil, step.at)
		}
		require.Equal(t, version, a.Version(), "the passing of time is no change")
		require.False(t, a.Revoke("s"), "there is nothing left to take")
		require.Len(t, a.Entries(), 3)
		require.Equal(t, [3]bool{true, false, false}, rightsOf(t, a, "for ever", "c"))
		require.NoError(t, a.Add(entryUntil(entry("s", RoleRead), time.Now().Add(1))), "a nanosecond to come")
		require.ErrorIs(t, a.Add(entryUntil(entry("s", RoleRead), time.Now())), ErrInvalid, "none")
	})
}

// TestACLReasons: people are told why, as far as it does not depend on others.
func TestACLReasons(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := aclWith(t, ACLRead("reader", "revoked"))
		require.True(t, a.Revoke("revoked"))
		require.NoError(t, a.GrantOn("elsewhere", RoleAdmin, "d"))
		mint(t, a, TokenRequest{SystemID: "guest", Role: RoleRead, AllChannels: true, ExpiresIn: time.Minute})
		time.Sleep(time.Hour)
		for _, row := range []struct {
			system string
			op     Operation
			want   string
		}{
			{"reader", OpRead, "listed"},
			{"reader", OpWrite, "not listed for that role"},
			{"guest", OpRead, "listed until an earlier time"},
			{"nobody", OpRead, "not listed"},
			{"revoked", OpRead, "not listed"},
			{"elsewhere", OpRead, "not listed"},
			{"reader", "destroy", "unknown operation"},
		} {
			d, err := a.Decide(t.Context(), Request{Principal: Principal{SystemID: row.system}, ChannelID: "c", Operation: row.op})
			require.NoError(t, err)
			require.Equal(t, row.want, d.Reason)
		}
	})
}

// TestRevokingWhatIsOverTakesNothing: whatever the way.
func TestRevokingWhatIsOverTakesNothing(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(*ACLSecurity) bool{
		"Revoke":     func(a *ACLSecurity) bool { return a.Revoke("s") },
		"RevokeRole": func(a *ACLSecurity) bool { return must(a.RevokeRole("s", RoleRead)) },
		"RevokeOn":   func(a *ACLSecurity) bool { return must(a.RevokeOn("s", RoleRead, "c")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := aclWith(t)
				mint(t, a, TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c"}, ExpiresIn: time.Minute})
				time.Sleep(time.Minute)
				version := a.Version()
				require.False(t, revoke(a))
				require.Equal(t, version, a.Version())
			})
		})
	}
}

// TestACLIsBounded: a full list refuses, and changes nothing; what is over makes room.
func TestACLIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := aclWith(t, ACLMaxEntries(4))
		require.NoError(t, a.Grant("a", RoleRead))
		require.NoError(t, a.Grant("b", RoleRead))
		mint(t, a, TokenRequest{SystemID: "c", Role: RoleRead, AllChannels: true, ExpiresIn: time.Minute})
		full := func(entries ...ACLEntry) {
			t.Helper()
			before, version := a.Entries(), a.Version()
			err := a.Add(entries...)
			require.ErrorIs(t, err, ErrLimit)
			require.ErrorContains(t, err, "4 entries")
			require.Equal(t, before, a.Entries())
			require.Equal(t, version, a.Version())
		}
		full(entry("x", RoleRead), entry("y", RoleRead))
		full(entryOn("x", RoleRead, "1"), entryOn("x", RoleRead, "2"))
		require.NoError(t, a.Grant("d", RoleRead))
		full(entry("e", RoleRead))
		full(entryOn("a", RoleRead, "1"))
		full(entry("a", RoleAdmin), entry("e", RoleAdmin))
		require.NoError(t, a.Grant("a", RoleAdmin), "what is on the list can be changed")
		require.NoError(t, a.Add(entry("a", RoleAdmin), entry("b", RoleAdmin), entry("b", RoleWrite)))
		require.True(t, a.Revoke("a"))
		require.NoError(t, a.Grant("e", RoleRead), "what was revoked makes room")
		full(entry("f", RoleRead))
		time.Sleep(time.Minute)
		require.NoError(t, a.Grant("f", RoleRead), "what is over makes room")
		full(entry("g", RoleRead))
		_, err := a.GenerateToken(t.Context(), TokenRequest{SystemID: "g", Role: RoleRead, AllChannels: true})
		require.ErrorIs(t, err, ErrLimit)
		require.Len(t, a.Entries(), 4)
	})
}

// TestACLMaxEntriesCountsEntries: as its comment says, wherever the option stands.
func TestACLMaxEntriesCountsEntries(t *testing.T) {
	t.Parallel()
	t.Run("a system and its channel", func(t *testing.T) {
		t.Parallel()
		require.ErrorIs(t, aclWith(t, ACLMaxEntries(1)).GrantOn("s", RoleRead, "c"), ErrLimit)
		require.NoError(t, aclWith(t, ACLMaxEntries(2)).GrantOn("s", RoleRead, "c"))
	})
	t.Run("after the lists", func(t *testing.T) {
		t.Parallel()
		_, err := NewACLSecurity(ACLRead("a", "b", "c"), ACLMaxEntries(2))
		require.ErrorIs(t, err, ErrLimit)
	})
}

// TestACLForgetsWhatIsOver: names that come and go do not make the table grow.
func TestACLForgetsWhatIsOver(t *testing.T) {
	t.Parallel()
	t.Run("short-lived names", func(t *testing.T) {
		t.Parallel()
		acl := requireForgotten(t, fewer(1_000_000), func(t *testing.T, a *ACLSecurity, name string) {
			mint(t, a, TokenRequest{SystemID: name, Role: RoleRead, Channels: []string{"c"}, ExpiresIn: time.Second})
		})
		require.Equal(t, [3]bool{true, false, false}, rightsOf(t, acl, "resident", "c"))
	})
	t.Run("channels of one system", func(t *testing.T) {
		t.Parallel()
		requireForgotten(t, fewer(100_000), func(t *testing.T, a *ACLSecurity, name string) {
			mint(t, a, TokenRequest{SystemID: "resident", Role: RoleRead, Channels: []string{name}, ExpiresIn: time.Second})
		})
	})
	t.Run("names that are granted for ever and revoked", func(t *testing.T) {
		t.Parallel()
		requireForgotten(t, fewer(100_000), func(t *testing.T, a *ACLSecurity, name string) {
			require.NoError(t, a.GrantOn(name, RoleRead, "c", "d"))
			require.True(t, a.Revoke(name))
		})
	})
	t.Run("names whose roles are taken one by one", func(t *testing.T) {
		t.Parallel()
		requireForgotten(t, fewer(100_000), func(t *testing.T, a *ACLSecurity, name string) {
			require.NoError(t, a.GrantOn(name, RoleWrite, "c", "d"))
			must(a.RevokeRole(name, RoleWrite))
			must(a.RevokeOn(name, RoleRead, "c"))
			must(a.RevokeOn(name, RoleRead, "d"))
		})
	})
	t.Run("names with a token beside what was taken", func(t *testing.T) {
		t.Parallel()
		requireForgotten(t, fewer(100_000), func(t *testing.T, a *ACLSecurity, name string) {
			require.NoError(t, a.GrantOn(name, RoleRead, "c"))
			mint(t, a, TokenRequest{SystemID: name, Role: RoleRead, Channels: []string{"d"}, ExpiresIn: time.Second})
			must(a.RevokeOn(name, RoleRead, "c"))
		})
	})
}

// requireForgotten brings n names, 1000 a second, of which each is over a second later.
func requireForgotten(t *testing.T, n int, bring func(*testing.T, *ACLSecurity, string)) (a *ACLSecurity) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a = aclWith(t, ACLRead("resident"))
		most := 0
		for i := range n {
			bring(t, a, fmt.Sprint("name ", i))
			if i%1000 == 999 {
				time.Sleep(time.Second)
				most = max(most, a.grants.Places()+a.single.Places())
			}
		}
		// At a time there are 1000 names with up to three records each; the table grows once half of it is in use.
		require.Less(t, most, 16_000)
		require.Less(t, len(a.channels), 16_000)
		require.Less(t, len(a.channels["resident"]), 16_000)
		time.Sleep(time.Minute)
		require.Equal(t, 1, a.grants.Rebuild(), "the resident's")
		require.Zero(t, a.single.Rebuild())
		require.Empty(t, a.channels)
		require.Equal(t, []ACLEntry{entry("resident", RoleRead)}, a.Entries())
	})
	return a
}

// TestACLDecidesWithoutAllocating: whatever the answer.
func TestACLDecidesWithoutAllocating(t *testing.T) {
	if underRace() {
		t.Skip("the race detector allocates")
	}
	a := aclWith(t, ACLRead("everywhere"))
	require.NoError(t, a.GrantOn("somewhere", RoleRead, "c"))
	mint(t, a, TokenRequest{SystemID: "soon nowhere", Role: RoleRead, Channels: []string{"c"}})
	ctx := t.Context()
	for _, system := range []string{"everywhere", "somewhere", "soon nowhere", "nobody"} {
		req := Request{Principal: Principal{SystemID: system}, ChannelID: "c", Operation: OpRead}
		require.Zero(t, testing.AllocsPerRun(100, func() {
			_, _ = a.Decide(ctx, req)
			_, _ = a.AuthorizeRead(ctx, system, "c")
			_, _ = a.AuthorizeAdmin(ctx, system, "d")
		}), system)
	}
}

// aclModel is what ACLSecurity is, without tables, epochs and snapshots: who was given which role where and until when.
type aclModel struct{ list []modelEntry }

type modelEntry struct {
	system, channel string // "" is every channel
	rank            int
	until           time.Time // zero: for ever
}

func (e *modelEntry) live(now time.Time) bool { return e.until.IsZero() || now.Before(e.until) }

func (m *aclModel) add(system, channel string, role Role, until time.Time) {
	for rank := 1; rank <= role.rank(); rank++ {
		m.list = append(m.list, modelEntry{system, channel, rank, until})
	}
}

// take drops what matches and reports whether any of it was live.
func (m *aclModel) take(now time.Time, match func(*modelEntry) bool) (any bool) {
	m.list = slices.DeleteFunc(m.list, func(e modelEntry) bool {
		any = any || match(&e) && e.live(now)
		return match(&e)
	})
	return any
}

func (m *aclModel) allowed(now time.Time, system, channel string, rank int) bool {
	return slices.ContainsFunc(m.list, func(e modelEntry) bool {
		return e.system == system && (e.channel == "" || e.channel == channel) && e.rank >= rank && e.live(now)
	})
}

func (m *aclModel) listed(now time.Time, system string) bool {
	return slices.ContainsFunc(m.list, func(e modelEntry) bool { return e.system == system && e.live(now) })
}

// entries is Entries: of every system and channel, the roles that no higher one includes for as long.
func (m *aclModel) entries(now time.Time) (list []ACLEntry) {
	longer := func(a, b time.Time) bool { return !b.IsZero() && (a.IsZero() || a.After(b)) }
	for i, e := range m.list {
		hidden := !e.live(now)
		for k, o := range m.list {
			if o.system == e.system && o.channel == e.channel && k != i && (o.rank > e.rank && !longer(e.until, o.until) ||
				o.rank == e.rank && (longer(o.until, e.until) || o.until.Equal(e.until) && k < i)) {
				hidden = true
			}
		}
		if !hidden {
			list = append(list, ACLEntry{SystemID: e.system, Role: ranks[e.rank-1], AllChannels: e.channel == "", ChannelID: e.channel, ExpiresAt: e.until})
		}
	}
	slices.SortFunc(list, func(x, y ACLEntry) int {
		return cmp.Or(cmp.Compare(x.SystemID, y.SystemID), cmp.Compare(x.ChannelID, y.ChannelID), cmp.Compare(x.Role.rank(), y.Role.rank()))
	})
	return list
}

// TestACLAgainstAModel does random operations on an ACLSecurity and on a naive model of it, and compares all that can be
// seen: CHANSEC_MODEL_OPS of them, if that is set, as in
//
//	CHANSEC_MODEL_OPS=1000000 go test -run TestACLAgainstAModel
func TestACLAgainstAModel(t *testing.T) {
	t.Parallel()
	n := countFrom(t, "CHANSEC_MODEL_OPS", fewer(300_000))
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runACLModel(t, seed, n/4, false) })
		})
	}
	t.Run("with what revoking reports", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { runACLModel(t, 4, n/4, true) })
	})
}

func runACLModel(t *testing.T, seed uint64, n int, reports bool) {
	random := rand.New(rand.NewPCG(seed, 1))
	systems := []string{"a", "b", "ab", "A", "s/1"}
	channels := []string{"c", "d", "C", "b", "x/y"}
	pick := func(list []string) string { return list[random.IntN(len(list))] }
	role := func() Role { return ranks[random.IntN(3)] }
	until := func() (at time.Time) {
		if random.IntN(3) > 0 {
			at = time.Now().Add(time.Duration(1 + random.IntN(20)))
		}
		return at
	}
	a, m := aclWith(t), &aclModel{}
	reported := func(want, got bool) {
		t.Helper()
		require.True(t, !reports || want == got)
	}
	for op := range n {
		now := time.Now()
		switch random.IntN(10) {
		case 0:
			system, role := pick(systems), role()
			require.NoError(t, a.Grant(system, role))
			m.add(system, "", role, time.Time{})
		case 1:
			system, role, some := pick(systems), role(), []string{pick(channels), pick(channels)}
			require.NoError(t, a.GrantOn(system, role, some...))
			m.add(system, some[0], role, time.Time{})
			m.add(system, some[1], role, time.Time{})
		case 2, 3:
			var list []ACLEntry
			for range 1 + random.IntN(4) {
				e := ACLEntry{SystemID: pick(systems), Role: role(), ChannelID: pick(channels), ExpiresAt: until()}
				if random.IntN(3) == 0 {
					e.AllChannels, e.ChannelID = true, ""
				}
				list = append(list, e)
				m.add(e.SystemID, e.ChannelID, e.Role, e.ExpiresAt)
			}
			require.NoError(t, a.Add(list...))
		case 4:
			req := TokenRequest{SystemID: pick(systems), Role: role(), Channels: []string{pick(channels)}, ExpiresIn: time.Duration(1 + random.IntN(20))}
			if random.IntN(4) == 0 {
				req.AllChannels, req.Channels = true, nil
			}
			require.Equal(t, req.SystemID, mint(t, a, req))
			for _, channel := range append(req.Channels, "")[:1] {
				m.add(req.SystemID, channel, req.Role, now.Add(req.ExpiresIn))
			}
		case 5:
			system := pick(systems)
			reported(m.take(now, func(e *modelEntry) bool { return e.system == system }), a.Revoke(system))
		case 6:
			system, role := pick(systems), role()
			had := m.take(now, func(e *modelEntry) bool { return e.system == system && e.rank >= role.rank() })
			reported(had, must(a.RevokeRole(system, role)))
		case 7:
			system, channel, role := pick(systems), pick(channels), role()
			had := m.take(now, func(e *modelEntry) bool {
				return e.system == system && e.channel == channel && e.rank >= role.rank()
			})
			reported(had, must(a.RevokeOn(system, role, channel)))
		case 8:
			time.Sleep(time.Duration(random.IntN(5)))
		case 9:
			switch random.IntN(100) { // each table is rebuilt when it is full, not with the other
			case 0:
				a.grants.Rebuild()
			case 1:
				a.single.Rebuild()
			}
		}
		now = time.Now()
		m.list = slices.DeleteFunc(m.list, func(e modelEntry) bool { return !e.live(now) })
		system, channel := pick(systems), pick(channels)
		for rank, got := range rightsOf(t, a, system, channel) {
			require.Equal(t, m.allowed(now, system, channel, rank+1), got, "operation %d: %q on %q, %s", op, system, channel, ranks[rank])
		}
		if op%64 != 0 {
			continue
		}
		for _, system := range systems {
			_, err := a.Authenticate(t.Context(), system)
			require.Equal(t, m.listed(now, system), err == nil, "operation %d: %q", op, system)
			for _, channel := range channels {
				for rank, got := range rightsOf(t, a, system, channel) {
					require.Equal(t, m.allowed(now, system, channel, rank+1), got, "operation %d: %q on %q, %s", op, system, channel, ranks[rank])
				}
			}
		}
		got, want := a.Entries(), m.entries(now)
		require.Len(t, got, len(want), "operation %d", op)
		for i := range got {
			require.True(t, got[i].ExpiresAt.Equal(want[i].ExpiresAt), "operation %d: %v and %v", op, got[i], want[i])
			got[i].ExpiresAt = want[i].ExpiresAt
		}
		require.Equal(t, want, got, "operation %d", op)
	}
}

// inBackground calls f again and again, on several goroutines, until stop is called, which waits for them.
func inBackground(goroutines int, f func()) (stop func()) {
	var over atomic.Bool
	var running sync.WaitGroup
	for range goroutines {
		running.Go(func() {
			for !over.Load() {
				f()
			}
		})
	}
	return func() {
		over.Store(true)
		running.Wait()
	}
}

// TestACLReadersNeverMissWhatIsHeld: a right that is there before, during and after every change is never denied, whatever
// else changes for the same system at the same time.
func TestACLReadersNeverMissWhatIsHeld(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		churn func(*testing.T, *ACLSecurity)
	}{
		{"other systems come and go", func(t *testing.T, a *ACLSecurity) {
			name := fmt.Sprint(rand.Uint64())
			require.NoError(t, a.GrantOn(name, RoleAdmin, "c"))
			require.True(t, a.Revoke(name))
		}},
		{"the system gets and loses another channel", func(t *testing.T, a *ACLSecurity) {
			require.NoError(t, a.GrantOn("s", RoleRead, "d"))
			must(a.RevokeOn("s", RoleRead, "d"))
		}},
		{"the system gets and loses every channel", func(t *testing.T, a *ACLSecurity) {
			require.NoError(t, a.Grant("s", RoleAdmin))
			must(a.RevokeRole("s", RoleWrite))
		}},
		{"the system gets the same again", func(t *testing.T, a *ACLSecurity) {
			require.NoError(t, a.GrantOn("s", RoleRead, "c"))
		}},
		{"the system gets the same twice, and much more, in one call", func(t *testing.T, a *ACLSecurity) {
			entries := []ACLEntry{entryOn("s", RoleRead, "c"), entryOn("s", RoleRead, "c")}
			for i := range 5 {
				entries = append(entries, entryOn("s", RoleRead, fmt.Sprint("d", i)))
			}
			require.NoError(t, a.Add(entries...))
		}},
		{"the system gets and loses a higher role", func(t *testing.T, a *ACLSecurity) {
			require.NoError(t, a.GrantOn("s", RoleAdmin, "c"))
			must(a.RevokeOn("s", RoleWrite, "c"))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := aclWith(t)
			require.NoError(t, a.GrantOn("s", RoleRead, "c"))
			ctx := t.Context()
			var missed atomic.Int64
			stop := inBackground(2*runtime.GOMAXPROCS(0), func() {
				for range 100 {
					if ok, err := a.AuthorizeRead(ctx, "s", "c"); !ok || err != nil {
						missed.Add(1)
					}
				}
				if _, err := a.Authenticate(ctx, "s"); err != nil {
					missed.Add(1)
				}
			})
			for range fewer(50_000) {
				row.churn(t, a)
			}
			stop()
			require.Zero(t, missed.Load())
		})
	}
}

// TestACLChangesOfASystemBecomeVisibleAtOnce: who sees one thing that a call changed for a system sees the others, too. There
// are many channels, so that there is time to look.
func TestACLChangesOfASystemBecomeVisibleAtOnce(t *testing.T) {
	t.Parallel()
	channels := make([]string, 200)
	for i := range channels {
		channels[i] = fmt.Sprint("c", i)
	}
	everywhere := func(t *testing.T, a *ACLSecurity, s string, role Role) {
		entries := []ACLEntry{entry(s, RoleRead)}
		for _, id := range channels {
			entries = append(entries, entryOn(s, role, id))
		}
		require.NoError(t, a.Add(entries...))
	}
	for _, row := range []struct {
		name   string
		before func(*testing.T, *ACLSecurity, string)
		change func(*testing.T, *ACLSecurity, string)
		rank   int  // which right
		all    bool // on a channel without an entry, too
		want   bool // becomes this
	}{
		{"granted", nil, func(t *testing.T, a *ACLSecurity, s string) { require.NoError(t, a.GrantOn(s, RoleWrite, channels...)) }, 2, false, true},
		{"granted, on every channel, too", nil, func(t *testing.T, a *ACLSecurity, s string) { everywhere(t, a, s, RoleAdmin) }, 1, true, true},
		{"granted more", func(t *testing.T, a *ACLSecurity, s string) { everywhere(t, a, s, RoleRead) },
			func(t *testing.T, a *ACLSecurity, s string) { everywhere(t, a, s, RoleWrite) }, 2, false, true},
		{"granted again after a revocation", func(t *testing.T, a *ACLSecurity, s string) {
			everywhere(t, a, s, RoleAdmin)
			require.True(t, a.Revoke(s))
		}, func(t *testing.T, a *ACLSecurity, s string) { everywhere(t, a, s, RoleRead) }, 1, true, true},
		{"revoked", func(t *testing.T, a *ACLSecurity, s string) { everywhere(t, a, s, RoleAdmin) },
			func(t *testing.T, a *ACLSecurity, s string) { require.True(t, a.Revoke(s)) }, 1, true, false},
		{"a role taken", func(t *testing.T, a *ACLSecurity, s string) { everywhere(t, a, s, RoleAdmin) },
			func(t *testing.T, a *ACLSecurity, s string) { must(a.RevokeRole(s, RoleWrite)) }, 2, false, false},
		{"every role taken", func(t *testing.T, a *ACLSecurity, s string) { everywhere(t, a, s, RoleAdmin) },
			func(t *testing.T, a *ACLSecurity, s string) { must(a.RevokeRole(s, RoleRead)) }, 1, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			views := []string{channels[0], channels[len(channels)-1]}
			if row.all {
				views = append(views, "no entry")
			}
			a := aclWith(t)
			torn := make(chan string, 1)
			for i := range 50 {
				system := fmt.Sprint("s", i)
				if row.before != nil {
					row.before(t, a, system)
				}
				var ready, watching sync.WaitGroup
				for _, first := range views {
					ready.Add(1)
					watching.Go(func() {
						ready.Done()
						for now(a.until(system, first, row.rank)) != row.want {
							runtime.Gosched()
						}
						for _, channel := range views {
							if now(a.until(system, channel, row.rank)) != row.want {
								select {
								case torn <- first + " before " + channel:
								default:
								}
							}
						}
					})
				}
				ready.Wait()
				row.change(t, a, system)
				watching.Wait()
				a.Revoke(system)
			}
			require.Empty(t, torn)
		})
	}
}

// TestACLKeepsNoHistory: however often a right changes, what it was before the last change is all that is remembered.
func TestACLKeepsNoHistory(t *testing.T) {
	t.Parallel()
	a := aclWith(t)
	for range 100 {
		require.NoError(t, a.GrantOn("s", RoleAdmin, "c", "c", "d"))
		must(a.RevokeOn("s", RoleWrite, "c"))
	}
	length := 0
	for r := a.single.Get(aclKey{"s", "c"}); r != nil; r = r.rest.prev {
		length++
	}
	require.LessOrEqual(t, length, 2)
	require.Len(t, a.channels["s"], 2)
	require.True(t, a.Revoke("s"))
	require.Empty(t, a.channels)
}

// TestACLWhatWasTakenDoesNotComeBack with a system that was forgotten before its channels were.
func TestACLWhatWasTakenDoesNotComeBack(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(a *ACLSecurity){
		"on the channel": func(a *ACLSecurity) { must(a.RevokeOn("s", RoleRead, "c")) },
		"everywhere":     func(a *ACLSecurity) { must(a.RevokeRole("s", RoleRead)) },
		"altogether":     func(a *ACLSecurity) { a.Revoke("s") },
	} {
		a := aclWith(t)
		require.NoError(t, a.GrantOn("s", RoleAdmin, "c"), name)
		take(a)
		require.Zero(t, a.grants.Rebuild(), name)
		require.NotNil(t, a.single.Get(aclKey{"s", "c"}), name)
		require.NoError(t, a.GrantOn("s", RoleRead, "d"), name)
		require.Equal(t, [3]bool{}, rightsOf(t, a, "s", "c"), name)
		require.Equal(t, [3]bool{true, false, false}, rightsOf(t, a, "s", "d"), name)
		require.Equal(t, []ACLEntry{entryOn("s", RoleRead, "d")}, a.Entries(), name)
		require.NoError(t, a.GrantOn("s", RoleRead, "c"), name)
		require.Equal(t, [3]bool{true, false, false}, rightsOf(t, a, "s", "c"), name)
	}
}

// TestACLDeniesOnceRevokeReturned: at once, for every reader, while others are granted and revoked.
func TestACLDeniesOnceRevokeReturned(t *testing.T) {
	t.Parallel()
	a := aclWith(t)
	ctx := t.Context()
	stop := inBackground(2, func() {
		name := fmt.Sprint(rand.Uint64())
		_ = a.GrantOn(name, RoleAdmin, "c")
		a.Revoke(name)
	})
	defer stop()
	for i := range fewer(20_000) {
		s := fmt.Sprint("s", i%10)
		require.NoError(t, a.GrantOn(s, RoleRead, "c"))
		ok, err := a.AuthorizeRead(ctx, s, "c")
		require.NoError(t, err)
		require.True(t, ok)
		switch i % 3 {
		case 0:
			require.True(t, a.Revoke(s))
		case 1:
			require.True(t, must(a.RevokeRole(s, RoleRead)))
		case 2:
			require.True(t, must(a.RevokeOn(s, RoleRead, "c")))
		}
		ok, err = a.AuthorizeRead(ctx, s, "c")
		require.NoError(t, err)
		require.False(t, ok)
	}
}
