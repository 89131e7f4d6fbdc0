package valve_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/chansectest"
	"github.com/chansec/chansec/valve"
)

// permit loads a file whose sections are given in JSON; those that are not permit nothing.
func permit(t testing.TB, sections map[valve.Section]string, opts ...valve.Option) *valve.Permissions {
	p, err := tryPermit(sections, opts...)
	require.NoError(t, err)
	return p
}

func tryPermit(sections map[valve.Section]string, opts ...valve.Option) (*valve.Permissions, error) {
	text := "{"
	for i, s := range []valve.Section{valve.Record, valve.Event, valve.RPC, valve.Presence} {
		if i > 0 {
			text += ","
		}
		content := sections[s]
		if content == "" {
			content = `{"*": {}}`
		}
		text += `"` + string(s) + `":` + content
	}
	return valve.ParseJSON([]byte(text+"}"), append([]valve.Option{valve.Sharing}, opts...)...)
}

func newRules(t testing.TB, c valve.Config) *valve.Rules {
	r, err := valve.New(c)
	require.NoError(t, err)
	return r
}

func join(t testing.TB, a chansec.Authorizer) chansec.ChannelSecurity {
	s, err := chansec.Join(chansec.OpenSecurity{}, a, chansec.OpenSecurity{})
	require.NoError(t, err)
	return s
}

const newsroom = `{"*": {}, "news/$topic": {
	"subscribe": "user.id === 'rita' || user.id === 'edward' || user.id === 'carla'",
	"publish": "user.id === 'edward' || user.id === 'carla'",
	"listen": "user.id === 'carla'"}}`

func TestRulesKeepTheContractOfSecurities(t *testing.T) {
	all := map[chansec.ChannelSecurity]*valve.Rules{}
	fresh := func(t *testing.T) chansec.ChannelSecurity {
		r := newRules(t, valve.Config{Permissions: permit(t, map[valve.Section]string{valve.Event: newsroom}),
			Channels: []valve.Binding{{Channels: "*", Section: valve.Event, Admin: valve.Listen}}})
		s := join(t, r)
		all[s] = r
		return s
	}
	without := func(kind, rule string) func(chansec.ChannelSecurity) error {
		return func(s chansec.ChannelSecurity) error {
			p, err := tryPermit(map[valve.Section]string{valve.Event: `{"*": {}, "news/$topic": {
				"subscribe": "user.id === 'edward' || user.id === 'carla'", "publish": "user.id === 'edward' || user.id === 'carla'",
				"listen": "user.id === 'carla'", "` + kind + `": "` + rule + `"}}`})
			if err != nil {
				return err
			}
			return all[s].Replace(p)
		}
	}
	chansectest.TestSecurity(t, fresh, chansectest.Expectations{
		AnyToken: true, AnyRequest: true,
		Systems: []chansectest.System{
			{ID: "rita", Rights: []chansectest.Right{{ChannelID: "news/today", Read: true}, {ChannelID: "other"}}},
			{ID: "edward", Rights: []chansectest.Right{{ChannelID: "news/today", Read: true, Write: true}, {ChannelID: "newsroom"}}},
			{ID: "carla", Rights: []chansectest.Right{{ChannelID: "news/today", Read: true, Write: true, Admin: true}}},
			{ID: "nobody", Rights: []chansectest.Right{{ChannelID: "news/today"}}},
		},
		Contents: []any{"a", "b"},
		Revocations: []chansectest.Revocation{
			{Name: "rita may not subscribe any more", System: "rita", ChannelID: "news/today", Role: chansec.RoleRead,
				Revoke: without("subscribe", "user.id === 'edward' || user.id === 'carla'")},
		},
	})
}

func TestAuthorizeSaysYesOnlyWhereNothingElseCounts(t *testing.T) {
	r := newRules(t, valve.Config{Channels: []valve.Binding{{Channels: "*", Section: valve.Event}}, Permissions: permit(t, map[valve.Section]string{valve.Event: `{"*": {},
		"open": {"publish": true}, "id": {"publish": "user.id === 'a'"}, "data": {"publish": "data === null"}, "null": {"publish": "user.data === null"},
		"now": {"publish": "now > 0"}, "ref": {"publish": "_('a') === null"}, "no": {"publish": false}, "user": {"publish": "!!user"},
		"arguments": {"publish": "arguments[1].data === null"}, "action": {"publish": "action === 2"}, "fails": {"publish": "nope"}}`})})
	for channel, want := range map[string]bool{"open": true, "id": true, "data": false, "null": false, "now": false, "ref": false,
		"no": false, "user": false, "arguments": false, "action": false, "fails": false, "missing": false} {
		yes, err := r.AuthorizeWrite(t.Context(), "a", channel)
		require.NoError(t, err)
		require.Equal(t, want, yes, channel)
	}
}

func TestDecideOnRecords(t *testing.T) {
	r := newRules(t, valve.Config{Channels: []valve.Binding{{Channels: "docs", Section: valve.Record}}, Permissions: permit(t, map[valve.Section]string{valve.Record: `{
		"*": {}, "docs": {"read": true}, "docs/$id": {
			"create": "user.id === 'author'", "write": "oldData === null || oldData.owner === user.id",
			"read": "oldData.public || oldData.owner === user.id", "delete": "oldData.owner === user.id && $id !== 'kept'"}}`})})
	docs, err := chansec.NewKeyed[map[string]any]("docs", chansec.WithSecurity(join(t, r)))
	require.NoError(t, err)
	defer docs.Close()
	ctx := t.Context()
	require.NoError(t, docs.Start(ctx))
	author, other := docs.As("author"), docs.As("other")
	set := func(p chansec.KeyedPort[map[string]any], key, owner string, public bool) error {
		_, err := p.Set(ctx, key, map[string]any{"owner": owner, "public": public})
		return err
	}
	get := func(p chansec.KeyedPort[map[string]any], key string) error {
		_, err := p.Get(ctx, key)
		return err
	}
	remove := func(p chansec.KeyedPort[map[string]any], key string) error {
		_, err := p.Delete(ctx, key)
		return err
	}
	require.ErrorIs(t, set(other, "a", "other", true), chansec.ErrPermission, "may not create")
	require.NoError(t, set(author, "a", "other", true))
	require.ErrorIs(t, set(author, "a", "author", true), chansec.ErrPermission, "is not the owner")
	require.NoError(t, set(other, "a", "other", false), "the owner need not create")
	require.NoError(t, get(other, "a"))
	require.ErrorIs(t, get(author, "a"), chansec.ErrPermission, "it is not public any more")
	require.ErrorIs(t, get(other, "none"), chansec.ErrPermission, "what is not there is not told")
	require.NoError(t, set(author, "kept", "author", false))
	require.ErrorIs(t, remove(author, "kept"), chansec.ErrPermission)
	require.ErrorIs(t, remove(author, "a"), chansec.ErrPermission)
	require.NoError(t, remove(other, "a"))
	_, err = other.Clear(ctx)
	require.ErrorIs(t, err, chansec.ErrPermission, "nobody administers")
}

func TestWhatCannotBeLookedUpIsUndecided(t *testing.T) {
	away := errors.New("away")
	r := newRules(t, valve.Config{Channels: []valve.Binding{{Channels: "*", Section: valve.Event}},
		Lookup:      valve.LookupFunc(func(context.Context, string) (any, bool, error) { return nil, false, away }),
		Permissions: permit(t, map[valve.Section]string{valve.Event: `{"*": {"publish": "_('x') === null", "subscribe": "_(5)"}}`})})
	c, err := chansec.NewBroadcast[string]("c", chansec.WithSecurity(join(t, r)))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Start(t.Context()))
	_, err = c.As("a").Write(t.Context(), "x")
	require.ErrorIs(t, err, chansec.ErrUndecided)
	require.ErrorIs(t, err, away)
	require.NotErrorIs(t, err, chansec.ErrPermission)
	_, err = c.As("a").Subscribe(t.Context())
	require.ErrorIs(t, err, chansec.ErrPermission, "the rule is wrong")
	require.NotErrorIs(t, err, chansec.ErrUndecided)
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	p := permit(t, nil)
	for name, c := range map[string]valve.Config{
		"no file":             {Channels: []valve.Binding{{Channels: "*", Section: valve.Event}}},
		"no bindings":         {Permissions: p},
		"no section":          {Permissions: p, Channels: []valve.Binding{{Channels: "*"}}},
		"an unknown section":  {Permissions: p, Channels: []valve.Binding{{Channels: "*", Section: "events"}}},
		"a type of another":   {Permissions: p, Channels: []valve.Binding{{Channels: "*", Section: valve.Event, Admin: valve.Delete}}},
		"a path that is none": {Permissions: p, Channels: []valve.Binding{{Channels: "/x", Section: valve.Event}}},
		"nor an expression":   {Permissions: p, Channels: []valve.Binding{{Channels: "(", Section: valve.Event}}},
	} {
		_, err := valve.New(c)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
}
