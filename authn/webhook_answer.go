package authn

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/strictjson"
)

// webhookVerdict is what an answer with a permitted status says.
type webhookVerdict struct {
	valid         bool
	id            string // empty: it names nobody
	clientData    any
	serverData    map[string]any
	serverMembers []strictjson.Member // of serverData
}

// readWebhookAnswer reads the body of an answer with a permitted status. What cannot be read is a problem, which is a
// constant text.
func readWebhookAnswer(a *outboundAnswer) (v webhookVerdict, problem string) {
	switch {
	case a.body == "":
		return webhookVerdict{valid: true}, ""
	case a.mediaType == "text/plain":
		if chansec.CheckSystemID(a.body) != nil {
			return v, "the answer is a text that is no id"
		}
		return webhookVerdict{valid: true, id: a.body}, ""
	case !a.isJSON():
		return v, "the answer is neither JSON nor plain text in UTF-8"
	case strictjson.Valid(a.body, webhookShape) != nil:
		return v, "the answer is not strict JSON"
	}
	body := strings.Trim(a.body, " \t\r\n")
	switch body[0] {
	case '{':
		return readWebhookObject(body)
	case '"':
		id, _ := decodeJSON(body, false).(string)
		if id != "" && chansec.CheckSystemID(id) != nil {
			return v, "the answer is a text that is no id"
		}
		return webhookVerdict{valid: true, id: id}, ""
	}
	return webhookVerdict{valid: body != "false"}, ""
}

func readWebhookObject(body string) (v webhookVerdict, problem string) {
	members, err := strictjson.Object(body, nil, webhookShape)
	if err != nil {
		return v, "the answer is not strict JSON"
	}
	v.valid = true
	ok := true
	for _, member := range members {
		value := member.Value
		switch member.Name {
		case "isValid":
			v.valid, ok = value.Bool()
		case "id":
			v.id, ok = webhookID(value)
		case "clientData":
			if !isFalsy(value) {
				v.clientData = decodeJSON(value.Raw(), true)
			}
		case "serverData":
			switch {
			case value.Kind() == strictjson.KindObject:
				v.serverData, ok = decodeJSON(value.Raw(), false).(map[string]any)
				v.serverMembers, _ = strictjson.Object(value.Raw(), nil, webhookShape)
			default:
				ok = isFalsy(value)
			}
		}
		if !ok {
			return webhookVerdict{}, "isValid, id or serverData in the answer has a wrong type"
		}
	}
	return v, ""
}

// webhookID reads an id: a string, or an integer in its decimal digits. Null and the empty string are none.
func webhookID(value strictjson.Value) (id string, ok bool) {
	switch value.Kind() {
	case strictjson.KindNull:
		return "", true
	case strictjson.KindNumber:
		n, ok := value.Int64()
		return strconv.FormatInt(n, 10), ok
	}
	id, ok = value.Text()
	return id, ok && (id == "" || chansec.CheckSystemID(id) == nil)
}

// webhookRefusal is what the caller is told beside a refusal (valve.md 15.3, 3): what an object says, or a text as an error.
func webhookRefusal(a *outboundAnswer) any {
	if len(a.body) > maxWebhookClientData || !utf8.ValidString(a.body) || !a.isJSON() && !strings.HasPrefix(a.mediaType, "text/") {
		return nil
	}
	text := a.body
	if a.isJSON() && strictjson.Valid(text, webhookShape) == nil {
		switch value := decodeJSON(text, true).(type) {
		case map[string]any:
			if len(value) == 0 {
				return nil
			}
			return value
		case string:
			text = value
		default:
			return nil
		}
	}
	if text == "" {
		return nil
	}
	return map[string]any{"error": text}
}

// decodeJSON decodes a text that passed strictjson. Numbers become json.Number where they are only handed on, and float64,
// as rules expect, otherwise.
func decodeJSON(text string, handedOn bool) any {
	d := json.NewDecoder(strings.NewReader(text))
	if handedOn {
		d.UseNumber()
	}
	var v any
	if d.Decode(&v) != nil {
		return nil // not after strictjson
	}
	return v
}
