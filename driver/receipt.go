package driver

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Receipt names one claim. The attempt is what fences it: once an entry was claimed again, the receipts of its earlier
// attempts have no effect. Attempt 0 stands for "the current claim" and is good only while the entry was claimed once.
type Receipt struct {
	ID      uuid.UUID
	Attempt uint64
}

// String is the ID, a dot and the attempt, or the bare ID for attempt 0. ParseReceipt reads it.
func (r Receipt) String() string {
	if r.Attempt == 0 {
		return r.ID.String()
	}
	return r.ID.String() + "." + strconv.FormatUint(r.Attempt, 10)
}

// ParseReceipt reads what String writes, and nothing else.
func ParseReceipt(s string) (Receipt, error) {
	text, attempt, numbered := strings.Cut(s, ".")
	id, err := uuid.Parse(text)
	r := Receipt{ID: id}
	if err == nil && numbered {
		r.Attempt, err = strconv.ParseUint(attempt, 10, 64)
	}
	if err != nil || r.String() != s {
		return Receipt{}, fmt.Errorf("driver: not a receipt: want a message ID, and a dot and the attempt")
	}
	return r, nil
}
