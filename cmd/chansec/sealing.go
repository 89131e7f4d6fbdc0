package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/chansec/chansec/sqlstore"
)

// sealingAlgorithm is what the file of a sealing key is for (RFC 7518 section 5.3).
const sealingAlgorithm = "A256GCM"

// sealingVariable holds sealing keys: what is in their files, one after the other.
const sealingVariable = "CHANSEC_SEALING_KEYS"

// sealingKeys returns the keys that the users of a database are sealed with: of files or else of the variable, the first being
// the one that seals. There may be none.
func (p *program) sealingKeys(ctx context.Context, files []string) ([]sqlstore.SealingKey, error) {
	var keys []sqlstore.SealingKey
	for _, file := range files {
		if file == "" {
			return nil, misused("make one with chansec key new a256gcm", "--sealing-key is empty: want a file")
		}
		m, err := p.loadMaterial(ctx, file)
		if err != nil {
			return nil, err
		}
		key, err := m.sealingKey()
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", quoted(file), err)
		}
		keys = append(keys, key)
	}
	if len(files) > 0 {
		return keys, nil
	}
	for d := json.NewDecoder(strings.NewReader(p.env(sealingVariable))); ; {
		var j jwk
		switch err := d.Decode(&j); {
		case errors.Is(err, io.EOF):
			return keys, nil
		case err != nil: // which may show some of it
			return nil, errors.New(sealingVariable + ": want what is in the files of chansec key new a256gcm, one after the other")
		}
		m, err := j.material()
		var key sqlstore.SealingKey
		if err == nil {
			key, err = m.sealingKey()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: key %d: %w", sealingVariable, len(keys)+1, err)
		}
		keys = append(keys, key)
	}
}

// sealingKey makes the key that a database uses.
func (m material) sealingKey() (sqlstore.SealingKey, error) {
	if m.algorithm != sealingAlgorithm || m.secret == nil {
		return sqlstore.SealingKey{}, fmt.Errorf("the key is for %s: want %s, as of chansec key new a256gcm", quoted(m.algorithm), sealingAlgorithm)
	}
	key := sqlstore.SealingKey{ID: m.id, Key: m.secret}
	return key, key.Check()
}

// sealingHint says where the keys come from that a database could not be read without.
const sealingHint = "sealing keys come from --sealing-key, from sealing_keys in the file of chansec serve, or from " + sealingVariable
