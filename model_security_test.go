package chansec_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chansec/chansec"
)

// The operations of the model test that change what is allowed, or ask the securities themselves.

var modelRoles = []chansec.Role{chansec.RoleRead, chansec.RoleWrite, chansec.RoleAdmin}

func (w *modelWorld) channelIDs() (list []string) {
	for _, c := range w.channels {
		list = append(list, c.ref.id)
	}
	return list
}

// expiry picks a time at which nothing else happens.
func (w *modelWorld) expiry() time.Time {
	w.serial++
	units := pick(w, []time.Duration{2, 5, 40, 300})
	return time.Now().Truncate(w.variant.unit).Add(units*w.variant.unit + w.variant.unit/2 + time.Duration(w.serial%4096))
}

func (w *modelWorld) grant() {
	w.changed = true
	system, role := pick(w, modelSystems), pick(w, modelRoles)
	switch w.rng.IntN(6) {
	case 0:
		w.say("%s gets %s everywhere", system, role)
		w.agree("Grant", w.acl.Grant(system, role), nil)
		w.ref.acl.add(system, role, "", time.Time{})
	case 1:
		ids := []string{pick(w, w.channelIDs()), pick(w, w.channelIDs())}
		w.say("%s gets %s on %s", system, role, ids)
		w.agree("GrantOn", w.acl.GrantOn(system, role, ids...), nil)
		w.ref.acl.add(system, role, ids[0], time.Time{})
		w.ref.acl.add(system, role, ids[1], time.Time{})
	case 2, 3:
		until, channel := w.expiry(), pick(w, append(w.channelIDs(), "", ""))
		e := chansec.ACLEntry{SystemID: system, Role: role, AllChannels: channel == "", ChannelID: channel, ExpiresAt: until}
		w.say("%s gets %s on %q for %s", system, role, channel, time.Until(until))
		w.agree("Add", w.acl.Add(e), nil)
		w.ref.acl.add(system, role, channel, until)
	case 4:
		w.addInvalid(system, role)
	default:
		until, id := w.expiry(), pick(w, w.channelIDs())
		w.say("a token of the list for %s, %s on %s for %s", system, role, id, time.Until(until))
		token, err := w.acl.GenerateToken(background, chansec.TokenRequest{SystemID: system, Role: role, Channels: []string{id}, ExpiresIn: time.Until(until)})
		if w.agree("GenerateToken", err, nil) {
			w.ref.acl.add(system, role, id, until)
		}
		w.compare("token", token, system)
	}
}

// addInvalid adds a good entry with a bad one: neither may be listed.
func (w *modelWorld) addInvalid(system string, role chansec.Role) {
	good := chansec.ACLEntry{SystemID: system, Role: role, AllChannels: true}
	bad := pick(w, []chansec.ACLEntry{
		{SystemID: "", Role: role, AllChannels: true},
		{SystemID: system, Role: "owner", AllChannels: true},
		{SystemID: system, Role: role},
		{SystemID: system, Role: role, AllChannels: true, ChannelID: "news"},
		{SystemID: system, Role: role, AllChannels: true, ExpiresAt: time.Now()},
	})
	w.say("%s with an impossible entry", system)
	w.agree("Add", w.acl.Add(good, bad), oneOf("invalid"))
}

func (w *modelWorld) revoke() {
	w.changed = true
	system, role, id := pick(w, modelSystems), pick(w, modelRoles), pick(w, w.channelIDs())
	var got, want bool
	var err error
	switch w.rng.IntN(4) {
	case 0:
		w.say("%s loses everything", system)
		got, want = w.acl.Revoke(system), w.ref.acl.revoke(w.ref.now, system)
	case 1:
		w.say("%s loses %s everywhere", system, role)
		got, err = w.acl.RevokeRole(system, role)
		want = w.ref.acl.revokeRole(w.ref.now, system, role)
	default:
		w.say("%s loses %s on %s", system, role, id)
		got, err = w.acl.RevokeOn(system, role, id)
		want = w.ref.acl.revokeOn(w.ref.now, system, role, id)
	}
	w.agree("revoke", err, nil)
	w.compare("whether there was anything to revoke", fmt.Sprint(got), fmt.Sprint(want))
}

// askACL asks the list itself: who has what, who is known, and who may do what.
func (w *modelWorld) askACL() {
	w.say("the list is asked")
	var got, want []string
	for _, e := range w.acl.Entries() {
		w.compare("AllChannels", fmt.Sprint(e.AllChannels), fmt.Sprint(e.ChannelID == ""))
		got = append(got, fmt.Sprint(e.SystemID, e.ChannelID, rank(e.Role), e.ExpiresAt.UnixNano()))
	}
	for _, e := range w.ref.acl.longest(w.ref.now) {
		want = append(want, fmt.Sprint(e.system, e.channel, e.rank, e.until.UnixNano()))
	}
	slices.Sort(want)
	slices.Sort(got)
	w.compare("entries", strings.Join(got, "\n"), strings.Join(want, "\n"))
	for _, system := range append(modelSystems, "nobody") {
		_, err := w.acl.Authenticate(background, system)
		no := oneOf("unauthenticated")
		if w.ref.acl.knows(w.ref.now, system) {
			no = nil
		}
		w.agree("authenticate "+system, err, no)
		for _, id := range append(w.channelIDs(), "another") {
			read, err1 := w.acl.AuthorizeRead(background, system, id)
			write, err2 := w.acl.AuthorizeWrite(background, system, id)
			admin, err3 := w.acl.AuthorizeAdmin(background, system, id)
			w.compare(system+" on "+id, fmt.Sprint(read, write, admin, err1, err2, err3), fmt.Sprint(
				w.ref.acl.allows(w.ref.now, system, id, 1), w.ref.acl.allows(w.ref.now, system, id, 2),
				w.ref.acl.allows(w.ref.now, system, id, 3), nil, nil, nil))
		}
	}
}

// callByName makes a caller of a name that the channel authenticated.
func (w *modelWorld) callByName() {
	system := pick(w, append(modelSystems, "nobody"))
	if w.jwt != nil {
		return
	}
	w.say("%s is authenticated", system)
	caller, err := pick(w, w.channels).Authenticate(background, system)
	no := oneOf("unauthenticated")
	if w.ref.acl.knows(w.ref.now, system) {
		no = nil
	}
	w.expectRefusal(err)
	if !w.agree("authenticate", err, no) {
		return
	}
	p := must(caller.Principal())
	w.compare("principal", fmt.Sprintf("%+v", p), fmt.Sprintf("%+v", chansec.Principal{SystemID: system}))
	w.newCaller(caller, p, nil)
}

// expectRefusal takes the event of a failed authentication out of the record.
func (w *modelWorld) expectRefusal(err error) {
	if err == nil || w.audit.off {
		return
	}
	events := w.audit.drain()
	got := ""
	for _, e := range events {
		got += fmt.Sprintf("%s %s %q", e.Operation, e.Outcome, e.SystemID)
	}
	want := `authenticate denied ""`
	if errors.Is(err, chansec.ErrUndecided) {
		want = `authenticate undecided ""`
	}
	w.compare("event of a failed authentication", got, want)
}

// newCaller makes a subject of a caller, as it is or of one whose principal can change later.
func (w *modelWorld) newCaller(caller chansec.Caller, p chansec.Principal, token *refToken) {
	var live *liveCaller
	if w.chance(2) {
		live = newLiveCaller(p)
		caller = live
	}
	s := w.call(caller, &refSubject{})
	s.live = live
	s.is(p, token)
	w.admit(s)
}

// changeCaller makes a live caller another, or nobody.
func (w *modelWorld) changeCaller() {
	live := slices.DeleteFunc(slices.Clone(w.subjects), func(s *modelSubject) bool { return s.live == nil })
	if len(live) == 0 {
		return
	}
	s := pick(w, live)
	switch w.rng.IntN(8) {
	case 0:
		w.say("%s is kicked", s.ref.label)
		s.live.become(chansec.Principal{}, errKicked)
		s.ref.nobody = oneOf("permission+kicked")
	case 1:
		w.say("nobody can say who %s is", s.ref.label)
		s.live.become(chansec.Principal{}, fmt.Errorf("no answer: %w", chansec.ErrUndecided))
		s.ref.nobody = oneOf("undecided")
	case 2:
		system := pick(w, modelSystems)
		w.say("%s becomes %s, whom somebody else authenticated", s.ref.label, system)
		p := chansec.Principal{SystemID: system, Proof: "other"}
		s.live.become(p, nil)
		s.is(p, nil)
	default:
		p, token, ok := w.anybody()
		if !ok {
			return
		}
		w.say("%s becomes %s", s.ref.label, p.SystemID)
		s.live.become(p, nil)
		s.is(p, token)
	}
}

// anybody returns a principal that was proved, with a grant that may have been changed on the way.
func (w *modelWorld) anybody() (chansec.Principal, *refToken, bool) {
	if w.jwt == nil {
		return chansec.Principal{SystemID: pick(w, modelSystems)}, nil, true
	}
	if len(w.tokens) == 0 {
		return chansec.Principal{}, nil, false
	}
	t := pick(w, w.tokens)
	p, err := w.jwt.Authenticate(background, t.text)
	proved, no := w.ref.jwt.authenticate(w.ref.now, t.ref)
	if !w.agree("authenticate", err, no) {
		return p, nil, false
	}
	if w.chance(2) {
		p = w.tamper(p)
	}
	return p, proved, true
}

// tamper changes the exported grant of a principal: wider, narrower or away.
func (w *modelWorld) tamper(p chansec.Principal) chansec.Principal {
	g := *p.Grant
	switch w.rng.IntN(4) {
	case 0:
		p.Grant = nil
		return p
	case 1:
		g.Role, g.AllChannels, g.ExpiresAt = chansec.RoleAdmin, true, time.Now().Add(1000*time.Hour)
	case 2:
		g.AllChannels, g.Channels = false, []string{pick(w, w.channelIDs())}
	case 3:
		g.ExpiresAt = w.expiry()
	}
	p.Grant = &g
	return p
}

// callByToken makes a caller of a token.
func (w *modelWorld) callByToken() {
	if w.chance(8) {
		w.say("nonsense is authenticated")
		_, err := pick(w, w.channels).Authenticate(background, "a.b.c")
		w.expectRefusal(err)
		w.agree("authenticate", err, oneOf("unauthenticated"))
		return
	}
	if len(w.tokens) == 0 {
		return
	}
	if w.chance(2) {
		w.say("somebody")
		if p, token, ok := w.anybody(); ok {
			w.newCaller(chansec.StaticCaller(p), p, token)
		}
		return
	}
	t := pick(w, w.tokens)
	w.say("the holder of a token for %s", t.ref.subject)
	caller, err := pick(w, w.channels).Authenticate(background, t.text)
	w.expectRefusal(err)
	proved, no := w.ref.jwt.authenticate(w.ref.now, t.ref)
	if !w.agree("authenticate", err, no) {
		return
	}
	p := must(caller.Principal())
	w.compare("principal", fmt.Sprint(p.SystemID, p.Proof, rank(p.Grant.Role), p.Grant.AllChannels, p.Grant.Channels, p.Grant.ExpiresAt.UnixNano(), p.Grant.TokenID),
		fmt.Sprint(t.ref.subject, chansec.ProofToken, t.ref.grant.rank, t.ref.grant.all, t.ref.grant.channels, t.ref.grant.until.UnixNano(), t.ref.id))
	w.newCaller(caller, p, proved)
}

func (w *modelWorld) keep(t *modelToken) {
	if w.tokens = append(w.tokens, t); len(w.tokens) > 12 {
		w.tokens = w.tokens[1:]
	}
}

// issue makes a token by the library.
func (w *modelWorld) issue() {
	req := chansec.TokenRequest{SystemID: pick(w, modelSystems), Role: pick(w, modelRoles)}
	req.ExpiresIn = pick(w, []time.Duration{time.Millisecond, time.Second, 1700 * time.Millisecond, 5 * time.Second, time.Minute})
	if req.AllChannels = w.chance(2); !req.AllChannels {
		for range w.rng.IntN(4) {
			req.Channels = append(req.Channels, pick(w, append(w.channelIDs(), "another")))
		}
		if w.chance(4) {
			req.Channels = append(req.Channels, strings.Split("a b c d e f g h i", " ")...)
		}
	}
	w.say("a token is issued: %+v", req)
	text, err := w.jwt.GenerateToken(background, req)
	if !w.agree("GenerateToken", err, nil) {
		return
	}
	p, err := w.jwt.Authenticate(background, text)
	if !w.agree("authenticate", err, w.cutOffNow(req.SystemID)) {
		return
	}
	until := time.Unix(max(time.Now().Add(req.ExpiresIn).Unix(), time.Now().Unix()+1), 0)
	signer := w.keys[slices.IndexFunc(w.keys, func(k modelKey) bool { return k.ref.id == w.ref.jwt.signer })]
	w.keep(&modelToken{text: text, ref: &refToken{id: p.Grant.TokenID, subject: req.SystemID, key: signer.ref, issued: time.Now(),
		grant: refGrant{rank: rank(req.Role), all: req.AllChannels, channels: req.Channels, until: until}}})
}

// cutOffNow is what a token that is issued now meets.
func (w *modelWorld) cutOffNow(subject string) refError {
	j := w.ref.jwt
	switch {
	case j.revoked(&refToken{subject: subject, issued: time.Now(), key: j.keys[0]}):
		return oneOf("unauthenticated+revoked")
	case j.stale(w.ref.now):
		return oneOf("undecided")
	}
	return nil
}

// sign makes a token as another issuer may, with one of the keys.
func (w *modelWorld) sign() {
	k := pick(w, append(slices.Clone(w.keys), w.retired...))
	t := &refToken{subject: pick(w, modelSystems), key: k.ref}
	role := pick(w, modelRoles)
	claims := jwt.MapClaims{"sub": t.subject, "role": string(role)}
	if t.grant.rank = rank(role); w.chance(2) {
		claims["role"] = strings.ToUpper(string(role))
	}
	if t.grant.all = w.chance(2); !t.grant.all {
		t.grant.channels = []string{pick(w, w.channelIDs())}
		claims["channels"] = t.grant.channels
	} else if w.chance(2) {
		claims["channels"] = nil
	}
	t.grant.until = time.Unix(time.Now().Unix()+int64(1+w.rng.IntN(5)), int64(w.rng.IntN(8))*int64(time.Second/8))
	claims["exp"] = float64(t.grant.until.UnixMilli()) / 1000
	if w.chance(2) {
		w.serial++
		t.id = fmt.Sprint("token ", w.serial)
		claims["jti"] = t.id
	}
	if w.chance(2) {
		t.issued = time.Unix(time.Now().Unix()-int64(w.rng.IntN(3)), 0)
		claims["iat"] = t.issued.Unix()
	}
	w.say("a token is signed elsewhere by %s: %v", k.ref.id, claims)
	signed := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	signed.Header["kid"] = k.ref.id
	w.keep(&modelToken{ref: t, text: must(signed.SignedString([]byte(k.ref.secret)))})
}

func (w *modelWorld) revokeToken() {
	w.changed = true
	if w.chance(3) {
		subject := pick(w, modelSystems)
		before := time.Now().Add(time.Duration(w.rng.IntN(3)-2) * time.Second)
		w.say("the tokens of %s from before %s are revoked", subject, time.Since(before))
		w.revoking(refRevocation{subject: subject, before: before}, func(j *chansec.JWTSecurity) error { return j.RevokeSubject(subject, before) })
		return
	}
	if len(w.tokens) == 0 {
		return
	}
	t := pick(w, w.tokens)
	if t.ref.id == "" {
		w.agree("RevokeToken", w.jwt.RevokeToken("", time.Time{}), oneOf("invalid"))
		return
	}
	until := t.ref.grant.until
	if w.chance(2) {
		until = time.Time{}
	}
	w.say("a token of %s is revoked", t.ref.subject)
	w.revoking(refRevocation{token: t.ref.id}, func(j *chansec.JWTSecurity) error { return j.RevokeToken(t.ref.id, until) })
}

// revoking revokes here, or in another process, from which it is taken over now or by a later Refresh. While the backend is
// away it is in force only where it was done.
func (w *modelWorld) revoking(r refRevocation, revoke func(*chansec.JWTSecurity) error) {
	j := w.ref.jwt
	var no refError
	if j.away {
		no = oneOf("not kept+away")
	}
	if w.chance(2) {
		w.agree("Revoke", revoke(w.jwt), no)
		j.known = append(j.known, r)
		return
	}
	w.say("%s, by another process", w.described)
	if w.agree("Revoke elsewhere", revoke(w.distant), no) {
		j.elsewhere = append(j.elsewhere, r)
	}
	if w.chance(2) {
		w.refresh()
	}
}

// refresh takes over what others revoked, if the backend is there.
func (w *modelWorld) refresh() {
	w.changed = true
	var no refError
	if w.ref.jwt.away {
		no = oneOf("away")
	}
	w.say("%s; Refresh", w.described)
	if w.agree("Refresh", w.jwt.Refresh(background), no) {
		w.ref.jwt.refresh(w.ref.now)
	}
}

// outage makes the backend of the revocations go away, or come back.
func (w *modelWorld) outage() {
	w.kept.away = !w.kept.away
	w.ref.jwt.away = w.kept.away
	w.say("the backend of the revocations is away: %t", w.kept.away)
}

func (w *modelWorld) changeKeys() {
	w.changed = true
	j := w.ref.jwt
	switch w.rng.IntN(4) {
	case 0: // a new one, or one that was removed before
		w.serial++
		k := newModelKey("key" + fmt.Sprint(w.serial%1000+1000))
		if len(w.retired) > 0 && w.chance(2) {
			i := w.rng.IntN(len(w.retired))
			k = w.retired[i]
			w.retired = slices.Delete(w.retired, i, i+1)
			if w.chance(2) {
				k = newModelKey(k.ref.id)
				k.ref.made = w.serial
			}
		}
		w.say("%s is added", k.ref.id)
		if len(w.keys) < 5 && w.agree("AddKey", w.jwt.AddKey(k.key), nil) {
			w.keys, j.keys = append(w.keys, k), append(j.keys, k.ref)
		}
	case 1:
		k := pick(w, w.keys)
		w.say("%s is added again", k.ref.id)
		w.agree("AddKey", w.jwt.AddKey(k.key), oneOf("invalid"))
	case 2:
		k := pick(w, w.keys)
		w.say("%s signs from now on", k.ref.id)
		w.agree("Rotate", w.jwt.Rotate(k.key), nil)
		j.signer = k.ref.id
	case 3:
		i := w.rng.IntN(len(w.keys))
		k := w.keys[i]
		w.say("%s is removed", k.ref.id)
		if k.ref.id == j.signer {
			w.agree("RemoveKey", w.jwt.RemoveKey(k.ref.id), oneOf("invalid"))
			return
		}
		w.agree("RemoveKey", w.jwt.RemoveKey(k.ref.id), nil)
		w.keys = slices.Delete(w.keys, i, i+1)
		j.keys = slices.DeleteFunc(j.keys, func(r refKey) bool { return r == k.ref })
		w.retired = append(w.retired, k)
	}
}

// authorizeToken asks for a token, a channel and an operation at once.
func (w *modelWorld) authorizeToken() {
	if len(w.tokens) == 0 {
		return
	}
	t, id := pick(w, w.tokens), pick(w, w.channelIDs())
	op := pick(w, []chansec.Operation{chansec.OpRead, chansec.OpNack, chansec.OpWrite, chansec.OpEvict, chansec.OpAdmin})
	w.say("may a token of %s %s on %s?", t.ref.subject, op, id)
	p, err := w.jwt.AuthorizeToken(background, t.text, id, op)
	_, no := w.ref.jwt.authenticate(w.ref.now, t.ref)
	if no.ok() {
		no = t.ref.grant.refuses(w.ref.now, id, need(op))
	}
	if w.agree("AuthorizeToken", err, no) {
		w.compare("principal", p.SystemID, t.ref.subject)
	}
}
