// Command diagram draws the schema of a store, as the migrations make it, for readers of Markdown:
//
//	go run ./diagram            prints it
//	go run ./diagram FILE       puts it into a Markdown file, between the lines that say where
package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chansec/chansec/sqlstore"
)

// The lines of a file between which the diagram stands.
const (
	begin = "<!-- schema: made by go run ./diagram -->"
	end   = "<!-- end of schema -->"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "diagram:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	drawn, err := draw(ctx)
	if err != nil {
		return err
	}
	switch len(args) {
	case 0:
		fmt.Print(drawn)
		return nil
	case 1:
		return put(args[0], drawn)
	}
	return fmt.Errorf("%d arguments, want one file or none", len(args))
}

// put replaces what stands between the two lines of a file.
func put(file, drawn string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	replaced, err := replace(text, drawn)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, replaced, 0o644)
}

func replace(text []byte, drawn string) ([]byte, error) {
	before, rest, found := bytes.Cut(text, []byte(begin+"\n"))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return nil, fmt.Errorf("it has no lines %q and %q", begin, end)
	}
	return slices.Concat(before, []byte(begin+"\n"+drawn+end), after), nil
}

// draw returns the diagram of the tables of a new database.
func draw(ctx context.Context) (_ string, err error) {
	dir, err := os.MkdirTemp("", "diagram")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := sqlstore.OpenSQLite(ctx, filepath.Join(dir, "new.db"), sqlstore.Options{})
	if err != nil {
		return "", err
	}
	defer func() { _ = store.Close() }()

	var b strings.Builder
	b.WriteString("```mermaid\nerDiagram\n")
	tables, err := rows(ctx, store.DB(), "select name from sqlite_schema where type = 'table' and name not like 'sqlite~_%' escape '~' order by name")
	if err != nil {
		return "", err
	}
	for _, t := range tables {
		if err := table(ctx, &b, store.DB(), t[0]); err != nil {
			return "", err
		}
	}
	// One line for each reference: the table that is referred to, how many rows of the other may, and by which column.
	references, err := rows(ctx, store.DB(), `select f."table", m.name, f."from", t."notnull"
		from sqlite_schema m join pragma_foreign_key_list(m.name) f join pragma_table_info(m.name) t on t.name = f."from"
		where m.type = 'table' order by m.name, f.id`)
	if err != nil {
		return "", err
	}
	for _, r := range references {
		one := "|o"
		if r[3] == "1" {
			one = "||"
		}
		fmt.Fprintf(&b, "    %s %s--o{ %s : %s\n", r[0], one, r[1], r[2])
	}
	b.WriteString("```\n")
	return b.String(), nil
}

// table draws the columns of a table: type, name, and which keys they are part of.
func table(ctx context.Context, b *strings.Builder, db *sql.DB, name string) error {
	columns, err := rows(ctx, db, `select c.type, c.name, c.pk,
			exists (select 1 from pragma_foreign_key_list(?1) f where f."from" = c.name),
			exists (select 1 from pragma_index_list(?1) i join pragma_index_info(i.name) x where i."unique" and x.name = c.name and i.origin = 'u'),
			c."notnull"
		from pragma_table_info(?1) c order by c.cid`, name)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "    %s {\n", name)
	for _, c := range columns {
		var keys []string
		for i, key := range []string{"PK", "FK", "UK"} {
			if c[2+i] != "0" {
				keys = append(keys, key)
			}
		}
		line := "        " + strings.ToLower(c[0]) + " " + c[1] + " " + strings.Join(keys, ", ")
		if c[5] == "0" && c[2] == "0" {
			line = strings.TrimRight(line, " ") + ` "or null"`
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString("    }\n")
	return nil
}

// rows returns what a query yields, as text.
func rows(ctx context.Context, db *sql.DB, query string, args ...any) (all [][]string, err error) {
	r, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	columns, err := r.Columns()
	if err != nil {
		return nil, err
	}
	for r.Next() {
		row := make([]string, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := r.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, r.Err()
}
