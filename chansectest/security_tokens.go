package chansectest

import (
	"errors"
	"reflect"
	"strings"

	"github.com/chansec/chansec"
)

func checkTokens(x *securityTrial) {
	for _, k := range x.expect.Tokens {
		if k.SystemID == "" {
			continue
		}
		s := x.new()
		text := x.token(s, k)
		for range 3 {
			x.safely("Authenticate", func() {
				p, err := s.Authenticate(x.Context(), text)
				switch {
				case err != nil:
					x.wrong("the %s token is refused: %v", k.Name, err)
				case p.SystemID != k.SystemID:
					x.wrong("the %s token proves %q, want %q", k.Name, p.SystemID, k.SystemID)
				}
			})
		}
		if x.broken() {
			continue
		}
		for kind := range kinds {
			for _, r := range k.Rights {
				at := x.site(kind, r.ChannelID, s)
				x.byPort(at, x.holder(at, k, text), "the holder of the "+k.Name+" token", r)
				_ = at.Close()
			}
		}
	}
}

// secret is in every token that the rules make up, so that it can be found in errors.
const secret = "chansectest-secret-8a41f6"

func checkBadTokens(x *securityTrial) {
	s := x.new()
	for _, k := range x.expect.Tokens {
		text := x.token(s, k)
		if k.SystemID == "" {
			x.refused(s, "the "+k.Name+" token", text, text)
		} else if !x.expect.AnyToken && !x.proves(text[:max(0, len(text)-1)]) {
			x.refused(s, "the "+k.Name+" token without its end", text[:max(0, len(text)-1)], "")
			x.refused(s, "the "+k.Name+" token twice", text+text, "")
			x.refused(s, "the "+k.Name+" token and more", text+secret, secret)
		}
	}
	if x.expect.AnyToken {
		x.safely("Authenticate", func() { _, _ = s.Authenticate(x.Context(), strings.Repeat("\x00\xff", 1<<20)) })
		return
	}
	none := "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjaGFuc2VjdGVzdCIsInJvbGUiOiJhZG1pbiIsImV4cCI6NDEwMjQ0NDgwMH0."
	for _, bad := range []struct{ what, text, find string }{
		{"the empty token", "", ""},
		{"a blank", " ", ""},
		{"a word", secret, secret},
		{"a control character", "\x00" + secret, secret},
		{"a line break", secret + "\r\n" + secret, secret},
		{"invalid UTF-8", "\xff\xfe" + secret, secret},
		{"two dots", "..", ""},
		{"three words with dots", secret + "." + secret + "." + secret, secret},
		{"a token with algorithm none", none, none},
		{"a scheme and a word", "Bearer " + secret, secret},
		{"a format directive", "%s%d%v" + secret, secret},
		{"a megabyte", strings.Repeat(secret, 1<<20/len(secret)), secret},
	} {
		x.refused(s, bad.what, bad.text, bad.find)
	}
}

// proves reports whether a text happens to be a good token.
func (x *securityTrial) proves(text string) bool {
	for _, k := range x.expect.Tokens {
		if text == k.SystemID {
			return true
		}
	}
	return false
}

// refused checks that a token proves nobody, and that the error does not contain the text to find.
func (x *securityTrial) refused(s chansec.ChannelSecurity, what, text, find string) {
	x.safely("Authenticate with "+what, func() {
		p, err := s.Authenticate(x.Context(), text)
		switch {
		case err == nil:
			x.wrong("%s is taken, and proves %.40q", what, p.SystemID)
		case !errors.Is(err, chansec.ErrUnauthenticated):
			x.wrong("%s: the error is not ErrUnauthenticated: %.200v", what, err)
		case find != "" && strings.Contains(err.Error(), find):
			x.wrong("%s: the error contains the token", what)
		case !reflect.DeepEqual(p, chansec.Principal{}):
			x.wrong("%s: there is a principal beside the error", what)
		}
	})
}
