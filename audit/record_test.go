package audit

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

func TestTheJSONOfARecordIsRead(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	for name, r := range map[string]Record{
		"the least": {Time: at, Kind: KindTrail, Operation: OpPrune},
		"all there is": {Seq: math.MaxUint64, Time: at, Kind: KindSession, Principal: "a", Proof: "b", TokenID: "c", Session: "d", Remote: "e", Target: "f",
			Operation: "g", Outcome: chansec.Undecided, Reason: "h", Rule: "i", Version: math.MaxUint64, Latency: math.MaxInt64, Detail: "j",
			Votes: []Vote{{"k", "l", "m", math.MinInt64}, {}}},
		"text of all kinds": {Time: at, Kind: KindPolicy, Operation: OpScript, Principal: "\x00\x1b\x7f\u0085\u2028\"\\</>é日𝄞", Detail: "a\nb\tc\r",
			Reason: `","hash":"` + strings.Repeat("0", 64)},
		"a negative latency":     {Time: at, Kind: KindDecision, Operation: "x", Latency: -1},
		"the first time":         {Time: time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), Kind: KindDecision, Operation: "x"},
		"the last time":          {Time: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), Kind: KindDecision, Operation: "x"},
		"an operation of wamp's": {Time: at, Kind: KindDecision, Operation: "publish", Outcome: chansec.Allowed},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(r)
			require.NoError(t, err)
			require.True(t, utf8.Valid(text))
			for _, c := range string(text) {
				require.False(t, c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028', "%q is not for terminals", c)
			}
			var got Record
			require.NoError(t, json.Unmarshal(text, &got))
			require.Equal(t, r, got)
			if r.Seq != 0 {
				line := r.appendOpen(nil)
				parsed, err := parseRecord(line)
				require.NoError(t, err)
				require.Equal(t, r, parsed)
			}
		})
	}
}

func TestTheJSONOfWhatIsNoRecordIsRefused(t *testing.T) {
	const good = `"time":"2030-01-02T03:04:05Z","kind":"session","operation":"login","outcome":"denied"`
	require.NoError(t, json.Unmarshal([]byte("{"+good+"}"), new(Record)))
	for name, text := range map[string]string{
		"a member of another name": "{" + good + `,"passwort":"x"}`,
		"no time":                  `{"kind":"session","operation":"login","outcome":"denied"}`,
		"another kind":             strings.Replace("{"+good+"}", "session", "gossip", 1),
		"no operation":             strings.Replace("{"+good+"}", "login", "", 1),
		"another outcome":          strings.Replace("{"+good+"}", "denied", "Denied", 1),
		"no outcome":               `{"time":"2030-01-02T03:04:05Z","kind":"session","operation":"login"}`,
		"a list":                   "[]",
	} {
		kept := login("before")
		r := kept
		require.Error(t, json.Unmarshal([]byte(text), &r), name)
		require.Equal(t, kept, r, "it is left as it was")
	}
	for name, r := range map[string]Record{
		"nothing":        {},
		"a late time":    {Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Kind: KindSession, Operation: OpLogin},
		"an early time":  {Time: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), Kind: KindSession, Operation: OpLogin},
		"another result": {Time: time.Now(), Kind: KindSession, Operation: OpLogin, Outcome: 3},
	} {
		_, err := json.Marshal(r)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
}

func TestLongTextIsCutAndSaysSo(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"what fits":                 {strings.Repeat("x", 100), strings.Repeat("x", 100)},
		"one byte more":             {strings.Repeat("x", 101), strings.Repeat("x", 85) + "... (101 bytes)"},
		"letters of two bytes":      {strings.Repeat("é", 60), strings.Repeat("é", 42) + "... (120 bytes)"},
		"what is not UTF-8":         {"a\xffb", "a\uFFFDb"},
		"what grows too long by it": {strings.Repeat("\xff.", 50), strings.Repeat("\uFFFD.", 21) + "... (200 bytes)"},
		"long, and not UTF-8":       {strings.Repeat("\xff", 200), "\uFFFD... (200 bytes)"},
		"nothing":                   {"", ""},
	} {
		got := tt.text
		shorten(&got, 100)
		require.Equal(t, tt.want, got, name)
		require.LessOrEqual(t, len(got), 100)
		again := got
		shorten(&again, 100)
		require.Equal(t, got, again, name)
	}
	r := login(strings.Repeat("x", 5000))
	r.Votes = make([]Vote, 100)
	r.Votes[3].Reason = strings.Repeat("y", 5000)
	mine := r.Votes
	clean, err := r.Clean()
	require.NoError(t, err)
	require.Len(t, clean.Principal, MaxTextBytes)
	require.Len(t, clean.Votes, MaxVotes)
	require.Len(t, clean.Votes[3].Reason, MaxTextBytes)
	require.Len(t, mine[3].Reason, 5000, "the caller's slice is the caller's")
	again, err := clean.Clean()
	require.NoError(t, err)
	require.Equal(t, clean, again)
}

func TestOutcomesAreWords(t *testing.T) {
	for _, o := range []chansec.Outcome{chansec.Denied, chansec.Allowed, chansec.Undecided} {
		got, err := ParseOutcome(o.String())
		require.NoError(t, err)
		require.Equal(t, o, got)
	}
	for _, s := range []string{"", "Allowed", "yes", "Outcome(3)"} {
		got, err := ParseOutcome(s)
		require.ErrorIs(t, err, chansec.ErrInvalid)
		require.Equal(t, chansec.Denied, got)
	}
}

// A record that was in no store yet has no number, and matches what asks for none.
func TestAFilterThatAsksForNothingMatchesEverything(t *testing.T) {
	require.True(t, Filter{}.Matches(login("alice")))
}

func TestCleanFindsWhatIsNoUTF8WhereverItIs(t *testing.T) {
	for size := range 34 {
		for at := range size {
			text := strings.Repeat("a", at) + "\xff" + strings.Repeat("a", size-at-1)
			r, err := Record{Time: time.Unix(1, 0), Kind: KindDecision, Operation: "write", Reason: text}.Clean()
			require.NoError(t, err)
			require.Equal(t, strings.Replace(text, "\xff", "\uFFFD", 1), r.Reason, "at %d of %d", at, size)
		}
		r, err := Record{Time: time.Unix(1, 0), Kind: KindDecision, Operation: "write", Reason: strings.Repeat("a", size)}.Clean()
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("a", size), r.Reason)
	}
}
