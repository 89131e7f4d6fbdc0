package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chansec/chansec"
)

// maxTokenBytes bounds what may be a token.
const maxTokenBytes = 64 << 10

func (p *program) tokenCommand() *cobra.Command {
	group := p.group("token", "Make, look into and verify tokens", "  chansec token verify --key verify.jwk < token.txt")
	group.AddCommand(p.tokenMintCommand(), p.tokenInspectCommand(), p.tokenVerifyCommand())
	return group
}

// tokenProfile is what tokens must have in common for somebody who makes and somebody who checks them.
type tokenProfile struct {
	key, algorithm, id, issuer, audience, typ string
	lifetime                                  time.Duration
}

func (t *tokenProfile) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&t.key, "key", "k", "", "the file of the key (see chansec key new)")
	f.StringVar(&t.algorithm, "alg", "", "the algorithm, if the file does not say it")
	f.StringVar(&t.id, "kid", "", "the key's ID, if the file does not say it")
	f.StringVar(&t.issuer, "issuer", "", "the issuer (iss)")
	f.StringVar(&t.audience, "audience", "", "the audience (aud)")
	f.StringVar(&t.typ, "typ", "", "the type in the header")
	f.DurationVar(&t.lifetime, "max-lifetime", chansec.DefaultTokenLifetime, "how much time a token may have left at most")
}

// security returns what makes and checks the tokens.
func (t *tokenProfile) security(ctx context.Context, p *program) (*chansec.JWTSecurity, error) {
	_, key, err := p.loadKey(ctx, t.key, t.algorithm, t.id)
	if err != nil {
		return nil, err
	}
	opts := []chansec.JWTOption{chansec.JWTMaxLifetime(t.lifetime)}
	if t.issuer != "" {
		opts = append(opts, chansec.JWTIssuer(t.issuer))
	}
	if t.audience != "" {
		opts = append(opts, chansec.JWTAudience(t.audience))
	}
	if t.typ != "" {
		opts = append(opts, chansec.JWTType(t.typ))
	}
	security, err := chansec.NewJWTSecurity(key, opts...)
	return security, invalidIsMisuse(err)
}

func (p *program) tokenMintCommand() *cobra.Command {
	var profile tokenProfile
	var subject, role string
	var channels []string
	var all bool
	var expires time.Duration
	cmd := &cobra.Command{Use: "mint --key FILE --subject NAME --role ROLE (--channel ID... | --all-channels)", Short: "Make a token",
		Long:    "Make a token and print it, alone on a line. Whoever has it may do what it says until it expires: keep it like a password.",
		Example: "  chansec token mint --key secret.jwk --subject alice --role read --channel prices/fx --expires 1h > alice.token",
		Args:    exactly(), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case subject == "":
				return misused("", "--subject NAME is missing")
			case role == "":
				return misused("read, write or admin", "--role ROLE is missing")
			case all == (len(channels) > 0):
				return misused("a token without channels reaches none of them", "say either --channel, once for each, or --all-channels")
			case expires <= 0: // which is not the default of those who make tokens in programs
				return misused("", "--expires %s: want a positive time", expires)
			}
			security, err := profile.security(cmd.Context(), p)
			if err != nil {
				return err
			}
			token, err := security.GenerateToken(cmd.Context(), chansec.TokenRequest{SystemID: subject, Role: chansec.Role(role),
				AllChannels: all, Channels: channels, ExpiresIn: expires})
			if errors.Is(err, chansec.ErrNoSigner) {
				return fmt.Errorf("key file %s: it is a public key, which signs nothing", quoted(profile.key))
			}
			if err != nil {
				return invalidIsMisuse(err)
			}
			return p.show(struct {
				Token string `json:"token"`
			}{token}, token+"\n")
		}}
	profile.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&subject, "subject", "s", "", "whose token it is (sub)")
	f.StringVar(&role, "role", "", "how much it allows: read, write or admin")
	f.StringArrayVarP(&channels, "channel", "c", nil, "a channel that it is for; may be repeated")
	f.BoolVar(&all, "all-channels", false, "it is for every channel")
	f.DurationVarP(&expires, "expires", "e", time.Hour, "for how long it is valid")
	completes(cmd, "role", string(chansec.RoleRead), string(chansec.RoleWrite), string(chansec.RoleAdmin))
	return cmd
}

// invalidIsMisuse makes a misuse of an error about an argument that makes no sense.
func invalidIsMisuse(err error) error {
	if errors.Is(err, chansec.ErrInvalid) {
		return &misuse{text: err.Error()}
	}
	return err
}

// readToken reads one token, from a file or from standard input.
func (p *program) readToken(ctx context.Context, args []string) (string, error) {
	file := "-"
	if len(args) > 0 {
		file = args[0]
	}
	if looksLikeToken(file) {
		if _, err := os.Stat(file); err != nil {
			return "", misused("pipe it in, or name a file that holds it", "a token is a secret, and arguments can be read by others")
		}
	}
	if _, ok := terminal(p.in); ok && file == "-" {
		fmt.Fprintln(p.err, "Paste the token, then press Enter and Ctrl-D:")
	}
	text, err := p.readFile(ctx, file, maxTokenBytes)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", misused("", "there is no token in %s", map[bool]string{true: "standard input", false: quoted(file)}[file == "-"])
	}
	return token, nil
}

// looksLikeToken reports whether a text has three parts, of which the first is a JSON object.
func looksLikeToken(s string) bool { return strings.Count(s, ".") == 2 && strings.HasPrefix(s, "ey") }

func (p *program) tokenInspectCommand() *cobra.Command {
	return &cobra.Command{Use: "inspect [FILE]", Short: "Show what a token says, without believing it",
		Long: "Show the header and the claims of a token from a file or standard input. Nothing is verified: anybody can write a token\n" +
			"that says anything. See chansec token verify.",
		Example: "  chansec token inspect < alice.token", Args: between(0, "FILE"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := p.readToken(cmd.Context(), args)
			if err != nil {
				return err
			}
			header, claims, err := decodeToken(token)
			if err != nil {
				return err
			}
			p.complain("not verified: anybody can write a token that says this")
			text := "HEADER\n" + members(header) + "\nCLAIMS\n" + members(claims)
			return p.show(struct {
				Verified bool           `json:"verified"`
				Header   map[string]any `json:"header"`
				Claims   map[string]any `json:"claims"`
			}{false, header, claims}, text)
		}}
}

// decodeToken reads the first two of the three parts of a token. Its errors hold nothing of it.
func decodeToken(token string) (header, claims map[string]any, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, fmt.Errorf("this is no signed token: it has %d parts, separated by dots, instead of 3", len(parts))
	}
	for i, to := range []*map[string]any{&header, &claims} {
		what := []string{"header", "claims"}[i]
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, nil, fmt.Errorf("the %s of the token is not base64url", what)
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		if d.Decode(to) != nil || d.More() || *to == nil {
			return nil, nil, fmt.Errorf("the %s of the token is not a JSON object", what)
		}
	}
	return header, claims, nil
}

// members returns what is in a header or in claims, sorted. Times are shown as such, too.
func members(m map[string]any) string {
	var pairs []string
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}) {
		text, _ := json.Marshal(m[key])
		value := string(text)
		if s, ok := m[key].(string); ok {
			value = s
		}
		if n, ok := m[key].(json.Number); ok && slices.Contains([]string{"exp", "iat", "nbf"}, key) {
			if seconds, err := n.Int64(); err == nil && seconds >= 0 && seconds < 1<<37 {
				value += " = " + time.Unix(seconds, 0).UTC().Format(time.RFC3339)
			}
		}
		pairs = append(pairs, "  "+name(key), value)
	}
	return fields(pairs...)
}

func (p *program) tokenVerifyCommand() *cobra.Command {
	var profile tokenProfile
	var channel, operation string
	cmd := &cobra.Command{Use: "verify --key FILE [FILE]", Short: "Verify a token, and show whom it proves",
		Long: "Verify a token from a file or standard input as a channel would, and show whom it proves and what it allows. With --channel and\n" +
			"--operation it must allow that as well. Revocations are not known here.",
		Example: "  chansec token verify --key secret.jwk --channel prices/fx --operation read < alice.token",
		Args:    between(0, "FILE"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (channel == "") != (operation == "") {
				return misused("", "--channel and --operation belong together")
			}
			security, err := profile.security(cmd.Context(), p)
			if err != nil {
				return err
			}
			token, err := p.readToken(cmd.Context(), args)
			if err != nil {
				return err
			}
			var who chansec.Principal
			if channel != "" {
				who, err = security.AuthorizeToken(cmd.Context(), token, channel, chansec.Operation(operation))
			} else {
				who, err = security.Authenticate(cmd.Context(), token)
			}
			switch {
			case errors.Is(err, chansec.ErrExpired):
				return errors.New("the token has expired; its signature is right")
			case errors.Is(err, chansec.ErrUnauthenticated):
				return errors.New("the token is not valid for this key, or not at this time: see chansec token inspect")
			case err != nil:
				return invalidIsMisuse(err)
			}
			g := who.Grant
			channels := strings.Join(g.Channels, " ")
			if g.AllChannels {
				channels = "all"
			}
			return p.show(struct {
				Verified    bool         `json:"verified"`
				Subject     string       `json:"subject"`
				Role        chansec.Role `json:"role"`
				AllChannels bool         `json:"all_channels"`
				Channels    []string     `json:"channels"`
				ExpiresAt   time.Time    `json:"expires_at"`
				TokenID     string       `json:"token_id,omitempty"`
			}{true, who.SystemID, g.Role, g.AllChannels, g.Channels, g.ExpiresAt.UTC(), g.TokenID},
				"valid\n"+fields("subject", who.SystemID, "role", string(g.Role), "channels", channels,
					"expires", g.ExpiresAt.UTC().Format(time.RFC3339), "token id", g.TokenID))
		}}
	profile.flags(cmd)
	cmd.Flags().StringVar(&channel, "channel", "", "a channel that it must be for")
	cmd.Flags().StringVar(&operation, "operation", "", "an operation on that channel that it must allow, such as read or write")
	return cmd
}
