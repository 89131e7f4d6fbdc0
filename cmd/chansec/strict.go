package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decodeStrict reads one YAML or JSON document into a struct or a list of them. A key that is not known, or there twice, and a
// value of the wrong kind are errors with their lines.
func decodeStrict(file string, text []byte, to any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	err := d.Decode(&document)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s is empty", quoted(file))
	}
	if err != nil {
		return fmt.Errorf("%s: %s", visible(file), yamlText(err))
	}
	if d.Decode(new(yaml.Node)) != io.EOF {
		return fmt.Errorf("%s: there is more than one document", visible(file))
	}
	if problems := strictNode(document.Content[0], reflect.TypeOf(to).Elem()); len(problems) > 0 {
		for i, p := range problems {
			problems[i] = visible(file) + ":" + p
		}
		return errors.New(strings.Join(problems, "\n"))
	}
	if err := document.Decode(to); err != nil {
		return fmt.Errorf("%s: %s", visible(file), yamlText(err))
	}
	return nil
}

// yamlText is what the library says, without its name.
func yamlText(err error) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "unmarshal errors:", ""), "yaml: ")), " ")
}

// strictNode returns what in a node does not belong into a type, each with its line.
func strictNode(n *yaml.Node, t reflect.Type) (problems []string) {
	optional := t.Kind() == reflect.Pointer
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	say := func(n *yaml.Node, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%d: ", n.Line)+fmt.Sprintf(format, args...))
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		say(n, "anchors and aliases are not used here")
		return problems
	}
	switch t.Kind() {
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			say(n, "want a list")
			return problems
		}
		for _, item := range n.Content {
			problems = append(problems, strictNode(item, t.Elem())...)
		}
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			say(n, "want keys and values")
			return problems
		}
		known, names := map[string]reflect.Type{}, map[string]string{}
		for i := range t.NumField() {
			key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			known[key], names[key] = t.Field(i).Type, key
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			field, ok := known[key.Value]
			switch near, like := nearest(key.Value, names); {
			case key.Kind != yaml.ScalarNode:
				say(key, "a key must be a word")
			case !ok && like:
				say(key, "there is no key %s: did you mean %s?", quoted(key.Value), near)
			case !ok:
				say(key, "there is no key %s", quoted(key.Value))
			case seen[key.Value]:
				say(key, "the key %s is there twice", quoted(key.Value))
			default:
				problems = append(problems, strictNode(value, field)...)
			}
			seen[key.Value] = true
		}
	default:
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" && !optional { // nobody knows what that was to be
			say(n, "want one value")
		}
	}
	return problems
}
