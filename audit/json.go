package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/chansec/chansec"
)

// MarshalJSON returns the form that is described at Record. A record that Clean refuses is refused.
func (r Record) MarshalJSON() ([]byte, error) {
	if err := r.clean(); err != nil {
		return nil, err
	}
	return append(r.appendOpen(nil), '}'), nil
}

// UnmarshalJSON reads that form. White space and the order of members do not matter; a member of another name is an error.
func (r *Record) UnmarshalJSON(text []byte) error {
	var w wireRecord
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return err
	}
	got, err := w.record()
	if err == nil {
		*r = got
	}
	return err
}

// wireRecord is the form of a record for encoding/json, which reads it. It is written by appendOpen.
type wireRecord struct {
	Seq       uint64            `json:"seq"`
	Time      time.Time         `json:"time"`
	Kind      Kind              `json:"kind"`
	Principal string            `json:"principal"`
	Proof     chansec.Proof     `json:"proof"`
	TokenID   string            `json:"token_id"`
	Session   string            `json:"session"`
	Remote    string            `json:"remote"`
	Target    string            `json:"target"`
	Operation chansec.Operation `json:"operation"`
	Outcome   string            `json:"outcome"`
	Reason    string            `json:"reason"`
	Rule      string            `json:"rule"`
	Version   uint64            `json:"version"`
	Latency   time.Duration     `json:"latency_ns"`
	Detail    string            `json:"detail"`
	Votes     []wireVote        `json:"votes"`
}

type wireVote struct {
	Handler string        `json:"handler"`
	Answer  string        `json:"answer"`
	Reason  string        `json:"reason"`
	Took    time.Duration `json:"took_ns"`
}

func (w *wireRecord) record() (Record, error) {
	r := Record{Seq: w.Seq, Time: w.Time, Kind: w.Kind, Principal: w.Principal, Proof: w.Proof, TokenID: w.TokenID, Session: w.Session,
		Remote: w.Remote, Target: w.Target, Operation: w.Operation, Reason: w.Reason, Rule: w.Rule, Version: w.Version,
		Latency: w.Latency, Detail: w.Detail}
	for _, v := range w.Votes {
		r.Votes = append(r.Votes, Vote(v))
	}
	var err error
	if r.Outcome, err = ParseOutcome(w.Outcome); err != nil {
		return Record{}, err
	}
	err = r.clean()
	return r, err
}

// ParseOutcome is the reverse of [chansec.Outcome.String].
func ParseOutcome(s string) (chansec.Outcome, error) {
	for o := chansec.Denied; o <= chansec.Undecided; o++ {
		if s == o.String() {
			return o, nil
		}
	}
	return chansec.Denied, invalid("outcome", s, `"allowed", "denied" or "undecided"`)
}

// appendOpen appends the JSON form of a clean record without the brace at its end.
func (r *Record) appendOpen(b []byte) []byte {
	b = append(b, '{')
	if r.Seq != 0 {
		b = append(b, `"seq":`...)
		b = strconv.AppendUint(b, r.Seq, 10)
		b = append(b, ',')
	}
	b = append(b, `"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","kind":`...)
	b = appendString(b, string(r.Kind))
	b = appendMember(b, "principal", r.Principal)
	b = appendMember(b, "proof", string(r.Proof))
	b = appendMember(b, "token_id", r.TokenID)
	b = appendMember(b, "session", r.Session)
	b = appendMember(b, "remote", r.Remote)
	b = appendMember(b, "target", r.Target)
	b = appendMember(b, "operation", string(r.Operation))
	b = appendMember(b, "outcome", r.Outcome.String())
	b = appendMember(b, "reason", r.Reason)
	b = appendMember(b, "rule", r.Rule)
	if r.Version != 0 {
		b = append(b, `,"version":`...)
		b = strconv.AppendUint(b, r.Version, 10)
	}
	if r.Latency != 0 {
		b = append(b, `,"latency_ns":`...)
		b = strconv.AppendInt(b, int64(r.Latency), 10)
	}
	b = appendMember(b, "detail", r.Detail)
	for i, v := range r.Votes {
		if i == 0 {
			b = append(b, `,"votes":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"handler":`...)
		b = appendString(b, v.Handler)
		b = appendMember(b, "answer", v.Answer)
		b = appendMember(b, "reason", v.Reason)
		if v.Took != 0 {
			b = append(b, `,"took_ns":`...)
			b = strconv.AppendInt(b, int64(v.Took), 10)
		}
		b = append(b, '}')
	}
	if len(r.Votes) > 0 {
		b = append(b, ']')
	}
	return b
}

// appendMember appends a member that is not the first one, unless it is empty.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

// appendString appends UTF-8 as a JSON string. What a terminal might obey is escaped, so that a trail can be looked at.
func appendString(b []byte, s string) []byte {
	const hexadecimal = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, s[start:i]...)
			b = append(b, '\\', c)
			i++
			start = i
		case c < ' ' || c == 0x7f:
			b = append(b, s[start:i]...)
			b = append(b, `\u00`...)
			b = append(b, hexadecimal[c>>4], hexadecimal[c&15])
			i++
			start = i
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r < 0xa0 || r == '\u2028' || r == '\u2029' {
				b = append(b, s[start:i]...)
				b = append(b, `\u`...)
				b = append(b, hexadecimal[r>>12], hexadecimal[r>>8&15], hexadecimal[r>>4&15], hexadecimal[r&15])
				start = i + n
			}
			i += n
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
