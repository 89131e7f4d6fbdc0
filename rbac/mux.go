package rbac

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Mux collects routes, each with the service whose rules guard it, and makes a http.ServeMux of them. The zero value is
// ready. It is not for concurrent use; the handlers that it made are, and do not change with it.
type Mux struct {
	routes []route
}

type route struct {
	Route
	service *Service
	handler http.Handler
}

// Route is what a Mux serves.
type Route struct {
	Pattern  string // as http.ServeMux takes it
	Endpoint string // the name of an action, or Every
	// Rule is what the route takes, such as ROLE_USER, by method if the pattern takes all: "GET: ROLE_USER; others:
	// ROLE_DENIED". It is empty if there is no rule, and for a service with a Check.
	Rule string
}

// String returns pattern, action and rule in a line.
func (r Route) String() string {
	text := r.Pattern
	if r.Endpoint != Every {
		text += " (" + r.Endpoint + ")"
	}
	if r.Rule != "" {
		text += ": " + r.Rule
	}
	return text
}

// Handle adds a default endpoint of a service. The pattern is one of http.ServeMux, such as "GET /users/{object_id}". What
// is wrong with the arguments is for [Mux.Handler] to say.
func (m *Mux) Handle(pattern string, s *Service, h http.Handler) {
	m.HandleAction(pattern, s, Every, h)
}

// HandleAction adds an action of a service, which its rules must name.
func (m *Mux) HandleAction(pattern string, s *Service, action string, h http.Handler) {
	r := route{Route{Pattern: pattern, Endpoint: action}, s, h}
	if s != nil {
		r.Rule, _ = s.describe(pattern, action)
	}
	m.routes = append(m.routes, r)
}

// Routes returns what was added, in that order, with its rules.
func (m *Mux) Routes() []Route {
	list := make([]Route, len(m.routes))
	for i, r := range m.routes {
		list[i] = r.Route
	}
	return list
}

// Handler returns a handler for what was added so far: for each request a http.ServeMux finds the route, and the route's
// service decides. What no route matches gets the mux's own answer: 404, 405 or a redirect.
//
// It is the check at start-up: no handler is returned, but all that is wrong, if the mux would refuse a pattern or an argument
// makes no sense (chansec.InvalidError), or routes have no rule (NoRuleError). A route whose pattern takes every method
// needs a rule for every method, as DenyAll makes it.
func (m *Mux) Handler() (http.Handler, error) {
	mux := http.NewServeMux()
	var errs []error
	var unruled []Route
	for _, r := range m.routes {
		switch {
		case r.service == nil:
			errs = append(errs, invalid("route", quote(r.Pattern), "a service, which is nil"))
			continue
		case r.handler == nil:
			errs = append(errs, invalid("route", quote(r.Pattern), "a handler, which is nil"))
			continue
		}
		guarded, err := r.service.Middleware(r.Endpoint)
		if err == nil {
			err = register(mux, r.Pattern, guarded(r.handler))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rbac: route %s: %w", quote(r.Pattern), err))
			continue
		}
		if _, ruled := r.service.describe(r.Pattern, r.Endpoint); !ruled {
			unruled = append(unruled, r.Route)
		}
	}
	if unruled != nil {
		errs = append(errs, &NoRuleError{unruled})
	}
	if len(m.routes) == 0 {
		errs = append(errs, invalid("mux", "", "at least one route"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return mux, nil
}

// register is http.ServeMux.Handle, whose panics, on a pattern that is malformed or at odds with another, become errors.
func register(mux *http.ServeMux, pattern string, h http.Handler) (err error) {
	defer func() {
		if why := recover(); why != nil {
			text := registeredAt.ReplaceAllString(fmt.Sprint(why), "")
			err = invalid("pattern", "", "one that http.ServeMux takes: "+strings.ReplaceAll(text, "\n", " "))
		}
	}()
	mux.Handle(pattern, h)
	return nil
}

// registeredAt is where the mux saw a pattern, which is always here.
var registeredAt = regexp.MustCompile(` \(registered at [^)]*\)`)

// describe returns what a route takes, and whether there is a rule for all of its methods.
func (s *Service) describe(pattern, endpoint string) (text string, ruled bool) {
	if s.check != nil {
		return "", true
	}
	if at := strings.IndexAny(pattern, " \t"); at >= 0 {
		r := s.rules.find(pattern[:at], endpoint)
		if r == nil {
			return "", false
		}
		return r.text, true
	}
	var parts []string
	for _, method := range s.rules.methods(endpoint) {
		parts = append(parts, method+": "+s.rules.find(method, endpoint).text)
	}
	if s.rules.every != nil {
		parts = append(parts, "others: "+s.rules.every.text)
	}
	return strings.Join(parts, "; "), s.rules.every != nil
}
