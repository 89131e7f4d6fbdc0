package driver

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestReceiptText(t *testing.T) {
	id := uuid.MustParse("0190f5fe-8b4c-7a1e-9f3c-2b6d5e4f3a21")
	for _, r := range []Receipt{{ID: id}, {ID: id, Attempt: 1}, {ID: id, Attempt: 1<<64 - 1}, {}} {
		got, err := ParseReceipt(r.String())
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
	require.Equal(t, id.String()+".2", Receipt{ID: id, Attempt: 2}.String())
	for _, bad := range []string{"", ".", id.String() + ".", id.String() + ".0", id.String() + ".01", id.String() + ".-1", id.String() + ".18446744073709551616",
		id.String() + ".1.1", strings.ToUpper(id.String()), "{" + id.String() + "}", "urn:uuid:" + id.String(), " " + id.String(), id.String()[1:]} {
		_, err := ParseReceipt(bad)
		require.Error(t, err, "%q", bad)
	}
}
