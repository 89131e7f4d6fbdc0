package chansec

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// The ports of a remote channel, with the operations of their kind and no others.
type (
	remotePassthrough[T any] struct {
		remoteWrite[T]
		remoteRead[T]
		remoteSubscribe[T]
		remoteWork[T]
		remoteHost[T]
	}
	remoteBroadcast[T any] struct {
		remoteWrite[T]
		remoteRead[T]
		remoteSubscribe[T]
		remoteHost[T]
	}
	remoteWorkQueue[T any] struct {
		remoteWrite[T]
		remoteWork[T]
		remoteHost[T]
	}
	remoteMailbox[T any] struct {
		remoteWrite[T]
		remoteRead[T]
		remoteSubscribe[T]
		remoteWork[T]
		remoteHost[T]
	}

	remoteWrite[T any]     struct{ *remotePort[T] }
	remoteRead[T any]      struct{ *remotePort[T] }
	remoteSubscribe[T any] struct{ *remotePort[T] }
	remoteWork[T any]      struct{ *remotePort[T] }
	remoteHost[T any]      struct{ *remotePort[T] }
)

type remotePort[T any] struct{ remote *remote }

func (p remoteWrite[T]) Write(ctx context.Context, content T) (uuid.UUID, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return uuid.Nil, invalid("content", "", "what encoding/json can write: "+err.Error())
	}
	return p.put(ctx, nil, text)
}

func (p remoteWrite[T]) WriteMessage(ctx context.Context, m Message[T]) (uuid.UUID, error) {
	switch {
	case m.ID != uuid.Nil:
		return uuid.Nil, invalid("message id", m.ID.String(), "none: the channel makes it")
	case !m.Timestamp.IsZero():
		return uuid.Nil, invalid("timestamp", m.Timestamp.String(), "none: the channel's clock counts")
	}
	content, err := contentJSON(m.Content)
	if err != nil {
		return uuid.Nil, invalid("content", "", "what encoding/json can write: "+err.Error())
	}
	text, err := json.Marshal(struct {
		SenderID      *string         `json:"sender_id"`
		Content       json.RawMessage `json:"content"`
		Metadata      map[string]any  `json:"metadata"`
		CorrelationID *string         `json:"correlation_id"`
		ReplyTo       *string         `json:"reply_to"`
		RecipientID   *string         `json:"recipient_id"`
	}{nullable(m.SenderID), content, m.Metadata, nullable(m.CorrelationID), nullable(m.ReplyTo), nullable(m.RecipientID)})
	if err != nil {
		return uuid.Nil, invalid("metadata", "", "what encoding/json can write: "+err.Error())
	}
	return p.put(ctx, url.Values{"direct": {"true"}}, text)
}

func (p *remoteMailbox[T]) WriteTo(ctx context.Context, recipientID string, content T) (uuid.UUID, error) {
	if err := CheckSystemID(recipientID); err != nil {
		return uuid.Nil, err
	}
	return p.WriteMessage(ctx, Message[T]{Content: content, RecipientID: recipientID})
}

// put writes, with a key of its own, so that it can be repeated.
func (p *remotePort[T]) put(ctx context.Context, query url.Values, text []byte) (uuid.UUID, error) {
	var a struct {
		ItemID uuid.UUID `json:"item_id"`
	}
	err := p.remote.ask(ctx, call{method: http.MethodPut, query: query, body: text, repeat: true,
		header: http.Header{"Idempotency-Key": {uuid.NewString()}}}, &a)
	return a.ItemID, err
}

func (p remoteRead[T]) Read(ctx context.Context, limit int) ([]Message[T], error) {
	return p.read(ctx, url.Values{}, limit)
}

func (p remoteRead[T]) ReadAfter(ctx context.Context, after uuid.UUID, limit int) ([]Message[T], error) {
	return p.read(ctx, url.Values{"after": {after.String()}}, limit)
}

type remoteMessages[T any] struct {
	Messages []Message[T] `json:"messages"`
	Missed   uint64       `json:"missed"`
	AtMost   bool         `json:"at_most"`
	Claims   []struct {
		Receipt  string  `json:"receipt"`
		Deadline float64 `json:"deadline"`
	} `json:"claims"`
}

func (p *remotePort[T]) read(ctx context.Context, query url.Values, limit int) ([]Message[T], error) {
	query.Set("limit", strconv.Itoa(limit))
	var a remoteMessages[T]
	if err := p.remote.ask(ctx, call{method: http.MethodGet, query: query}, &a); err != nil {
		return nil, err
	}
	if a.Missed > 0 {
		return nil, &LaggedError{Missed: a.Missed, AtMost: a.AtMost}
	}
	return a.Messages, nil
}

func (p remoteWork[T]) Claim(ctx context.Context, limit int) ([]Claim[T], error) {
	return p.claim(ctx, limit, 0)
}

func (p remoteWork[T]) ClaimNext(ctx context.Context) (Claim[T], error) {
	for {
		claims, err := p.claim(ctx, 1, MaxHTTPWait)
		if err != nil {
			return Claim[T]{}, err
		}
		if len(claims) > 0 {
			return claims[0], nil
		}
	}
}

func (p *remotePort[T]) claim(ctx context.Context, limit int, wait time.Duration) ([]Claim[T], error) {
	query := url.Values{"exclusive": {"true"}, "limit": {strconv.Itoa(limit)}}
	if wait > 0 {
		query.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}
	var a remoteMessages[T]
	if err := p.remote.ask(ctx, call{method: http.MethodGet, query: query}, &a); err != nil {
		return nil, err
	}
	if len(a.Claims) != len(a.Messages) {
		return nil, &RemoteError{Status: http.StatusOK, Detail: "messages without claims"}
	}
	var claims []Claim[T]
	for i := range a.Messages {
		r, err := ParseReceipt(a.Claims[i].Receipt)
		if err != nil || r.ID != a.Messages[i].ID {
			return nil, &RemoteError{Status: http.StatusOK, Detail: "a claim without a receipt"}
		}
		claims = append(claims, Claim[T]{Message: a.Messages[i], Attempt: r.Attempt,
			Deadline: time.UnixMicro(int64(math.Round(a.Claims[i].Deadline * 1e6))), settle: p})
	}
	return claims, nil
}

func (p remoteWork[T]) Acknowledge(ctx context.Context, receipts ...Receipt) (int, error) {
	return p.settle(ctx, OpAcknowledge, receipts)
}

func (p remoteWork[T]) Nack(ctx context.Context, receipts ...Receipt) (int, error) {
	return p.settle(ctx, OpNack, receipts)
}

func (p remoteWork[T]) Extend(ctx context.Context, receipts ...Receipt) (int, error) {
	return p.settle(ctx, OpExtend, receipts)
}

func (p *remotePort[T]) settle(ctx context.Context, op Operation, receipts []Receipt) (int, error) {
	total := 0
	for first := true; first || len(receipts) > 0; first = false {
		some := receipts[:min(len(receipts), MaxReadLimit)]
		receipts = receipts[len(some):]
		ids := make([]string, len(some))
		for i, r := range some {
			ids[i] = r.String()
		}
		body, err := json.Marshal(map[string][]string{"message_ids": ids})
		if err != nil {
			return total, err
		}
		var a struct {
			Acknowledged int `json:"acknowledged"`
			Nacked       int `json:"nacked"`
			Extended     int `json:"extended"`
		}
		if err := p.remote.ask(ctx, call{method: http.MethodPost, path: "/" + string(op), body: body}, &a); err != nil {
			return total, err
		}
		total += a.Acknowledged + a.Nacked + a.Extended
	}
	return total, nil
}

func (p *remotePort[T]) settleOne(ctx context.Context, op Operation, r Receipt) error {
	n, err := p.settle(ctx, op, []Receipt{r})
	if err == nil && n == 0 {
		err = ErrClaimLost
	}
	return err
}

func (p remoteHost[T]) Clear(ctx context.Context) (int, error) {
	return p.discard(ctx, url.Values{"all": {"true"}})
}

func (p remoteHost[T]) EvictBefore(ctx context.Context, t time.Time) (int, error) {
	if t.IsZero() {
		return 0, &InvalidError{What: "time", Value: "zero", Want: "a time"}
	}
	return p.discard(ctx, url.Values{"before": {string(appendSeconds(nil, t))}})
}

func (p remoteHost[T]) EvictBeyond(ctx context.Context, keep int) (int, error) {
	return p.discard(ctx, url.Values{"keep": {strconv.Itoa(keep)}})
}

// removeAtATime keeps URLs short.
const removeAtATime = 100

func (p remoteHost[T]) Remove(ctx context.Context, ids ...uuid.UUID) (int, error) {
	if len(ids) == 0 {
		ids = []uuid.UUID{uuid.Max} // nobody's, so that the right to remove is looked at all the same
	}
	total := 0
	for len(ids) > 0 {
		some := ids[:min(len(ids), removeAtATime)]
		ids = ids[len(some):]
		query := url.Values{}
		for _, id := range some {
			query.Add("id", id.String())
		}
		n, err := p.discard(ctx, query)
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

func (p remoteHost[T]) RemoveFunc(ctx context.Context, match func(Message[T]) bool) (int, error) {
	if match == nil {
		return 0, &InvalidError{What: "match function", Value: "nil", Want: "a function"}
	}
	var ids []uuid.UUID
	query := url.Values{}
	for {
		var a remoteMessages[T]
		if err := p.remote.ask(ctx, call{method: http.MethodGet, path: "/messages", query: query, repeat: true}, &a); err != nil {
			return 0, err
		}
		if len(a.Messages) == 0 {
			break
		}
		for _, m := range a.Messages {
			if match(m) {
				ids = append(ids, m.ID)
			}
		}
		query.Set("after", a.Messages[len(a.Messages)-1].ID.String())
	}
	return p.Remove(ctx, ids...)
}

func (p *remotePort[T]) discard(ctx context.Context, query url.Values) (int, error) {
	var a struct {
		Removed int `json:"removed"`
	}
	err := p.remote.ask(ctx, call{method: http.MethodDelete, path: "/messages", query: query}, &a)
	return a.Removed, err
}

func (p remoteHost[T]) Len(ctx context.Context) (int, error) {
	var a struct {
		Length int `json:"length"`
	}
	err := p.remote.ask(ctx, call{method: http.MethodGet, path: "/length", repeat: true}, &a)
	return a.Length, err
}

func (p remoteHost[T]) Info(ctx context.Context) (Info, error) {
	var info Info
	err := p.remote.ask(ctx, call{method: http.MethodGet, path: "/info", repeat: true}, &info)
	return info, err
}
