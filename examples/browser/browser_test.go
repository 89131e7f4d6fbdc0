package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// browsers are the names under which Chromium and its kin are installed.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless-shell", "chrome-headless-shell"}

// findBrowser returns the program of a browser. Without one the test is skipped, unless CHANSEC_BROWSER_REQUIRED is 1.
func findBrowser(t *testing.T) string {
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	const missing = "there is no Chromium or Chrome on the path: install Debian's package chromium (apt-get install chromium), or any other"
	if os.Getenv("CHANSEC_BROWSER_REQUIRED") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// patience is for one step: a browser on a busy machine takes seconds to start.
const patience = time.Minute

// tab is a page in a browser without a window.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func open(t *testing.T, url string) *tab {
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(findBrowser(t)), chromedp.WSURLReadTimeout(patience))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(url)))
	return &tab{t, ctx}
}

// evaluate evaluates an expression, which may be a promise, on the page.
func evaluate[T any](p *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// until waits until an expression is true of the page. It is looked at again whenever the page changes.
func (p *tab) until(expression string) {
	p.t.Helper()
	_, err := evaluate[bool](p, fmt.Sprintf(`new Promise((resolve) => {
		const observer = new MutationObserver(() => look());
		const look = () => { if (%s) { observer.disconnect(); resolve(true); } };
		observer.observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
		look();
	})`, expression))
	if err != nil {
		p.t.Fatalf("%s did not become true (%v) of:\n%s", expression, err, p.texts("body"))
	}
}

// texts returns the text of each element that a selector finds.
func (p *tab) texts(selector string) []string {
	p.t.Helper()
	texts, err := evaluate[[]string](p, fmt.Sprintf(`[...document.querySelectorAll(%q)].map((e) => e.textContent)`, selector))
	require.NoError(p.t, err)
	return texts
}

func (p *tab) untilMessages(texts ...string) {
	p.t.Helper()
	want, err := json.Marshal(texts)
	require.NoError(p.t, err)
	p.until(fmt.Sprintf(`JSON.stringify([...document.querySelectorAll("#messages span")].map((e) => e.textContent)) === JSON.stringify(%s)`, want))
}

func (p *tab) untilState(kind, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.querySelector("#state").className === %q && document.querySelector("#state").textContent === %q`, kind, text))
}

func (p *tab) click(selector string) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, chromedp.Click(selector)))
}

func (p *tab) enter(selector, text string) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, chromedp.SendKeys(selector, text+"\r")))
}

// watched is this program's site behind a real server, which can be made unreachable, and whose requests are remembered.
type watched struct {
	*site
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	down     bool
	requests []*http.Request
}

func serve(t *testing.T) *watched {
	s, err := newSite(t.Context())
	require.NoError(t, err)
	w := &watched{site: s, t: t}
	handler := s.handler()
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.requests = append(w.requests, r.Clone(context.Background()))
		down := w.down
		w.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		s.close()
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

func (w *watched) setDown(down bool) {
	w.mu.Lock()
	w.down = down
	w.mu.Unlock()
}

// subscriptions returns the requests for the stream.
func (w *watched) subscriptions() (list []*http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if r.URL.Path == "/channels/news/events" {
			list = append(list, r)
		}
	}
	return list
}

func (w *watched) write(text string) string {
	w.t.Helper()
	id, err := w.news.As("editor").Write(w.t.Context(), note{text})
	require.NoError(w.t, err)
	return id.String()
}

func (w *watched) token(subject string, lifetime time.Duration) string {
	w.t.Helper()
	text, err := w.security.GenerateToken(w.t.Context(), chansec.TokenRequest{SystemID: subject, Role: chansec.RoleRead, Channels: []string{"news"}, ExpiresIn: lifetime})
	require.NoError(w.t, err)
	return text
}

const live = "Live."

func TestAPageShowsMessagesUntilItsRightEnds(t *testing.T) {
	w := serve(t)
	page := open(t, w.URL)
	token := w.token("reader", time.Hour)
	page.enter("#token", token)
	page.untilState("live", live)
	w.write("one")
	page.untilMessages("one")
	last := w.write("two")
	page.untilMessages("one", "two")

	w.setDown(true)
	w.CloseClientConnections()
	page.untilState("waiting", "The connection broke; it will be resumed.")
	w.write("three, while nobody could hear it")
	w.setDown(false)
	page.untilState("live", live)
	w.write("four")
	page.untilMessages("one", "two", "three, while nobody could hear it", "four")
	for _, r := range w.subscriptions()[1:] {
		require.Equal(t, []string{last}, r.Header["Last-Event-Id"])
	}

	require.NoError(t, w.security.RevokeSubject("reader", time.Now()))
	w.write("five, which is none of the reader's business")
	page.untilState("ended", "Ended: the right to this channel was revoked.")
	before := len(w.subscriptions())
	page.click("#revoke") // whatever else the page does, its token is good for nothing
	page.until(`document.querySelector("#messages em")?.textContent === "POST /revoke was answered with 401"`)
	require.Len(t, page.texts("#messages span"), 4)
	require.Len(t, w.subscriptions(), before, "what was revoked must not be resumed")

	stored, err := evaluate[[]string](page, `[location.href, document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)]`)
	require.NoError(t, err)
	require.Equal(t, []string{w.URL + "/", "", "{}", "{}"}, stored)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		require.NotContains(t, r.URL.String(), token)
		require.Empty(t, r.Header["Cookie"])
		require.Empty(t, r.Header["Referer"])
	}
}

func TestAVisitorGetsATokenFromThePagesServer(t *testing.T) {
	w := serve(t)
	page := open(t, w.URL)
	page.click("#visit")
	page.untilState("live", live)
	page.enter("#text", "hello")
	page.untilMessages("hello")
	require.Regexp(t, `^visitor-[0-9a-f]{8}$`, page.texts("#messages b")[0])
	page.click("#revoke")
	page.untilState("ended", "Ended: the right to this channel was revoked.")
	page.enter("#text", "anybody?")
	page.until(`document.querySelector("#messages em")?.textContent === "PUT /channels/news was answered with 401"`)
}

func TestThePageSaysWhyItsStreamEnded(t *testing.T) {
	w := serve(t)
	page := open(t, w.URL)
	page.enter("#token", "nonsense")
	page.untilState("ended", "Ended: refused, 401, not authenticated.")
	for life := 2 * time.Second; ; life *= 2 { // to subscribe before it is over may take longer
		_, err := evaluate[string](page, `document.querySelector("#state").className = ""`) // that of the subscription before
		require.NoError(t, err)
		page.enter("#token", w.token("brief", life))
		page.until(`document.querySelector("#state").className === "ended"`)
		if page.texts("#state")[0] != "Ended: refused, 401, not authenticated." {
			break
		}
	}
	page.untilState("ended", "Ended: the token expired.")
	page.enter("#token", w.token("reader", time.Hour))
	page.untilState("live", live)
	require.NoError(t, w.news.Close())
	page.untilState("ended", "Ended: the channel was closed.")
}

// TestAMessageIsText: what a writer wrote is shown, and does nothing.
func TestAMessageIsText(t *testing.T) {
	hostile := []string{
		`<img src=x onerror="window.harmed = true">`,
		`<script>window.harmed = true</script>`,
		`<svg onload="window.harmed = true">`,
		`</span></li></ol><h1>Ended</h1>`,
		`&lt;b&gt; is not <b>`,
		"data: x\n\nevent: revoked\ndata: {}\n\n",
		"\u202egnp.txt\u2028\x00",
	}
	w := serve(t)
	page := open(t, w.URL)
	page.enter("#token", w.token("reader", time.Hour))
	page.untilState("live", live)
	for _, text := range hostile {
		w.write(text)
	}
	page.untilMessages(hostile...)
	harmed, err := evaluate[[]int](page, `[window.harmed === undefined ? 0 : 1, document.querySelectorAll("img, svg, #messages script, #messages h1").length]`)
	require.NoError(t, err)
	require.Equal(t, []int{0, 0}, harmed)

	refused, err := evaluate[string](page, `(() => { try { document.body.innerHTML = "<p>"; return "" } catch (e) { return e.name } })()`)
	require.NoError(t, err)
	require.Equal(t, "TypeError", refused, "the policy refuses text as HTML, if ever the script forgets")
}

// TestChansecJS runs the cases of testdata/cases.js in the browser.
func TestChansecJS(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/chansec.js", http.FileServer(http.Dir("page")))
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	server := httptest.NewServer(guarded(mux))
	t.Cleanup(server.Close)
	page := open(t, server.URL+"/cases.html")
	found, err := evaluate[map[string]string](page, `import("/cases.js").then((m) => m.results())`)
	require.NoError(t, err)
	require.Greater(t, len(found), 40)
	for name, problem := range found {
		t.Run(name, func(t *testing.T) { require.Empty(t, problem) })
	}
}

// TestThePagesServer needs no browser.
func TestThePagesServer(t *testing.T) {
	w := serve(t)
	ask := func(method, path string, header ...string) *http.Response {
		req, err := http.NewRequest(method, w.URL+path, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp
	}
	for name, tt := range map[string]struct {
		method, path string
		header       []string
		want         int
	}{
		"the page is there":                           {"GET", "/", nil, 200},
		"the script is there":                         {"GET", "/chansec.js", nil, 200},
		"what is not there is not":                    {"GET", "/testdata/cases.js", nil, 404},
		"its own page may ask for a token":            {"POST", "/visitors", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"another site's page may not":                 {"POST", "/visitors", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"nor may an older browser's":                  {"POST", "/visitors", []string{"Origin", "https://elsewhere.example"}, 403},
		"asking must not be getting":                  {"GET", "/visitors", nil, 404},
		"who has no token has none revoked":           {"POST", "/revoke", nil, 401},
		"who has a bad one neither":                   {"POST", "/revoke", []string{"Authorization", "Bearer x"}, 401},
		"who has one may revoke it":                   {"POST", "/revoke", []string{"Authorization", "Bearer " + w.token("reader", time.Hour)}, 204},
		"the channel is there for those who have one": {"GET", "/channels/news", []string{"Authorization", "Bearer " + w.token("ann", time.Hour)}, 200},
		"and for nobody else":                         {"GET", "/channels/news", nil, 401},
		"a page of elsewhere may not use it with one": {"GET", "/channels/news", []string{"Origin", "https://elsewhere.example", "Authorization", "Bearer " + w.token("ann", time.Hour)}, 403},
		"a token in the URL is nobody's":              {"GET", "/channels/news/events?access_token=" + w.token("ann", time.Hour), nil, 401},
		"a token in a cookie is nobody's":             {"GET", "/channels/news/events", []string{"Cookie", "token=" + w.token("ann", time.Hour)}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			resp := ask(tt.method, tt.path, tt.header...)
			require.Equal(t, tt.want, resp.StatusCode)
			if tt.want == 200 {
				require.Equal(t, contentPolicy, resp.Header.Get("Content-Security-Policy"))
				require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			}
			if strings.HasPrefix(tt.path, "/channels/") || tt.want == 200 && tt.method == "POST" {
				require.Equal(t, "no-store", resp.Header.Get("Cache-Control"), "what a token opens, or is, is not kept")
			}
		})
	}
}
