package chansec

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// problem is an error on the wire: a problem document (RFC 9457) with sssn's member detail. Its texts are constant, but for
// those that tell a client what was wrong with its own request.
type problem struct {
	status int
	kind   string // the type, without the common prefix
	title  string
	detail string // the title if empty
	retry  time.Duration
}

// problemPrefix begins the type of every problem.
const problemPrefix = "urn:chansec:problem:"

// The problems, by what the client's side makes of them.
const (
	problemUnauthenticated = "unauthenticated"
	problemForbidden       = "forbidden"
	problemUndecided       = "undecided"
	problemNotFound        = "not-found"
	problemMethod          = "method-not-allowed"
	problemInvalid         = "invalid"
	problemUnknownMessage  = "unknown-message"
	problemUnsupported     = "unsupported"
	problemTooLarge        = "too-large"
	problemMediaType       = "unsupported-media-type"
	problemFull            = "full"
	problemLimit           = "limit"
	problemRate            = "rate"
	problemNotAccepting    = "not-accepting"
	problemClosed          = "closed"
	problemInternal        = "internal"
)

// retryDefault is when a client may try again where nobody knows better.
const retryDefault = time.Second

var (
	forbidden = problem{status: http.StatusForbidden, kind: problemForbidden, title: "permission denied"}
	notFound  = problem{status: http.StatusNotFound, kind: problemNotFound, title: "no such resource"}
	internal  = problem{status: http.StatusInternalServerError, kind: problemInternal, title: "internal error"}
)

// problemOf is the one translation of errors to statuses.
func problemOf(err error) problem {
	var (
		invalid *InvalidError
		limit   *http.MaxBytesError
		wire    *wireError
	)
	switch {
	case errors.As(err, &wire):
		return wire.problem
	case errors.Is(err, ErrPermission) && (errors.Is(err, ErrExpired) || errors.Is(err, ErrRevoked)), errors.Is(err, ErrUnauthenticated):
		return problem{status: http.StatusUnauthorized, kind: problemUnauthenticated, title: "not authenticated"}
	case errors.Is(err, ErrPermission):
		return forbidden
	case errors.Is(err, ErrUndecided):
		return problem{status: http.StatusServiceUnavailable, kind: problemUndecided, title: "nobody can say now whether that is allowed", retry: retryDefault}
	case errors.As(err, &limit):
		return problem{status: http.StatusRequestEntityTooLarge, kind: problemTooLarge, title: "too large",
			detail: "the body may have " + strconv.FormatInt(limit.Limit, 10) + " bytes"}
	case errors.As(err, &invalid):
		return problem{status: http.StatusBadRequest, kind: problemInvalid, title: "invalid request", detail: invalid.Error()}
	case errors.Is(err, ErrUnknownMessage):
		return problem{status: http.StatusBadRequest, kind: problemUnknownMessage, title: "unknown message"}
	case errors.Is(err, ErrUnsupported):
		return problem{status: http.StatusConflict, kind: problemUnsupported, title: "not an operation of this kind of channel"}
	case errors.Is(err, ErrFull):
		return problem{status: http.StatusTooManyRequests, kind: problemFull, title: "the channel is full", retry: retryDefault}
	case errors.Is(err, ErrLimit):
		return problem{status: http.StatusTooManyRequests, kind: problemLimit, title: "a limit of the channel was reached", retry: retryDefault}
	case errors.Is(err, ErrNotAccepting):
		return problem{status: http.StatusServiceUnavailable, kind: problemNotAccepting, title: "the channel is not accepting writes", retry: retryDefault}
	case errors.Is(err, ErrClosed):
		return problem{status: http.StatusServiceUnavailable, kind: problemClosed, title: "the channel was closed", retry: retryDefault}
	}
	return internal
}

// wireError is an error that knows its problem.
type wireError struct{ problem problem }

func (e *wireError) Error() string { return "chansec: " + e.problem.text() }

func (p *problem) text() string {
	if p.detail != "" {
		return p.detail
	}
	return p.title
}

// refuse is an error with a status of its own.
func refuse(status int, kind, detail string) error {
	return &wireError{problem{status: status, kind: kind, title: http.StatusText(status), detail: detail}}
}

// badRequest is what a client did wrong.
func badRequest(detail string) error { return refuse(http.StatusBadRequest, problemInvalid, detail) }

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter, requestID string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.retry+time.Second-1)/time.Second), 10))
	}
	body, _ := json.Marshal(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		RequestID string `json:"request_id"`
	}{problemPrefix + p.kind, p.title, p.status, p.text(), requestID})
	w.WriteHeader(p.status)
	_, _ = w.Write(body)
}
