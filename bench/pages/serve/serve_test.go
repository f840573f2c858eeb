package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sekali/bench/experiment/ab"
	"sekali/bench/experiment/saturation"
	"sekali/bench/judge"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/pages/report"
	"sekali/bench/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "not of the results"

// results makes a folder as the lab leaves it: a run of two results below runs/, a link to it, a
// data folder, and one file outside that nobody may get.
func results(t *testing.T) string {
	t.Helper()
	outside := t.TempDir()
	dir := filepath.Join(outside, "results")
	runDir := filepath.Join(dir, "runs", "20261123-064110")
	index := record.Index{ID: "20261123-064110", StartedAt: time.Date(2026, 11, 23, 6, 41, 10, 0, time.UTC), FinishedAt: time.Date(2026, 11, 23, 6, 42, 0, 0, time.UTC),
		Environment: record.Environment{CPUModel: "synthetic <cpu>", Cores: 2}}
	for i, model := range []resulttest.Model{
		{Scenario: "burst", Repeat: 1, Ack: "journal", Rate: 100, Measured: 2 * time.Second, EventsPerS: 4000, Seed: 1},
		{Scenario: "kill", Case: "journal", Repeat: 1, Ack: "journal", Rate: 100, Measured: 4 * time.Second, EventsPerS: 4000, Seed: 2,
			Kill: 3 * time.Second, Down: 400 * time.Millisecond},
	} {
		name := []string{"burst-1", "kill-journal-1"}[i]
		if err := resulttest.Write(filepath.Join(runDir, name), model); err != nil {
			t.Fatal(err)
		}
		if model.Kill > 0 { // the page with all that a page can have, of a run that is INVALID
			rewrite(t, filepath.Join(runDir, name), func(r *record.Run) { r.Environment.Race = true })
			if err := resulttest.AddProfile(filepath.Join(runDir, name), "sekali/aggregator/store.(*Store).commit", "runtime.memmove"); err != nil {
				t.Fatal(err)
			}
		}
		if err := report.WritePage(filepath.Join(runDir, name)); err != nil {
			t.Fatal(err)
		}
		index.Results = append(index.Results, record.Entry{Dir: name, Scenario: model.Scenario, Case: model.Case, Repeat: 1, Valid: i == 0, Held: true, Clean: true})
	}
	if err := record.WriteIndex(runDir, index); err != nil {
		t.Fatal(err)
	}
	// The lab writes no page for a probe of a search.
	search := filepath.Join(dir, "runs", "saturate-20261122-064110")
	probes := filepath.Join(search, "runs", "20261122-064110")
	if err := resulttest.Write(filepath.Join(probes, "saturation-probe-01-1"), resulttest.Model{Scenario: "saturation", Case: "probe-01", Repeat: 1,
		Ack: "journal", Rate: 10, Measured: time.Second, EventsPerS: 4000, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 11, 22, 6, 41, 10, 0, time.UTC)
	if err := record.WriteIndex(probes, record.Index{ID: "20261122-064110", StartedAt: began, FinishedAt: began.Add(time.Minute),
		Results: []record.Entry{{Dir: "saturation-probe-01-1", Scenario: "saturation", Case: "probe-01", Repeat: 1, Valid: true, Held: true, Clean: true}}}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(search, saturation.SearchFile):       "{}\n",
		filepath.Join(outside, "secret.txt"):               secret,
		filepath.Join(runDir, ".data", "secret.txt"):       secret,
		filepath.Join(runDir, "burst-1", "aggregator.log"): "{}\n",
		filepath.Join(runDir, "burst.svg"):                 "<svg/>",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		filepath.Join(dir, "latest"):                   filepath.Join("runs", "20261123-064110"),
		filepath.Join(runDir, "burst-1", "escape"):     filepath.Join("..", "..", "..", ".."),
		filepath.Join(runDir, "burst-1", "escape.txt"): filepath.Join(outside, "secret.txt"),
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// rewrite changes a result, and makes what follows from it anew.
func rewrite(t *testing.T, dir string, change func(*record.Run)) {
	t.Helper()
	resulttest.RewriteRun(t, dir, change)
	if _, err := judge.Finish(dir); err != nil {
		t.Fatal(err)
	}
}

// list is the page of all runs.
func list(t *testing.T, dir string) string {
	t.Helper()
	return get(newHandler(t, dir), "/").Body.String()
}

func newHandler(t *testing.T, dir string) *Handler {
	t.Helper()
	h, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// get asks without a client, which would tidy up the path.
func get(h *Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "127.0.0.1:8090"
	h.ServeHTTP(w, r)
	return w
}

const (
	aRun   = "runs/20261123-064110"
	burst  = aRun + "/burst-1"
	killed = aRun + "/kill-journal-1"
)

func TestListLinksToWhatIsThere(t *testing.T) {
	h := newHandler(t, results(t))
	page := get(h, "/")
	text := page.Body.String()
	for _, want := range []string{"burst", "kill/journal", "INVALID", "synthetic &lt;cpu&gt;", "2026-11-23 06:41 UTC", `value="` + burst + `"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the list does not say %q:\n%s", want, text)
		}
	}
	// A run, and the search with its own.
	if groups := strings.Count(text, `<tr class="group">`); groups != 3 {
		t.Errorf("%d runs and searches: the link to the latest is one of them", groups)
	}
	links := regexp.MustCompile(`href="(/[^"]*)"`).FindAllStringSubmatch(text, -1)
	// Of a run: itself, its curve, and of each result the page, the files and the trend. Of a search:
	// itself, a run, and its result's folder twice and the trend.
	if len(links) != 8+5 {
		t.Errorf("%d links: %v", len(links), links)
	}
	for _, link := range links {
		if answer := get(h, link[1]); answer.Code != http.StatusOK || answer.Body.Len() == 0 {
			t.Errorf("%s: %d", link[1], answer.Code)
		}
	}
}

// TestOnlyWhatIsShownIsRead: of many runs the newest are shown, by the names of their folders. No
// file of the others is read, nor of a session of which no run is shown.
func TestOnlyWhatIsShownIsRead(t *testing.T) {
	const many = 3000
	dir := t.TempDir()
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	name := func(n int) string { return first.Add(time.Duration(n) * time.Minute).Format(record.IDLayout) }
	write := func(name, text string) {
		t.Helper()
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	index := func(folder string, at time.Time) {
		t.Helper()
		write(filepath.Join(folder, record.IndexFile), fmt.Sprintf(`{"format":2,"started_at":%q,"results":[]}`, at.Format(time.RFC3339)))
	}
	// An index that is read puts its run before all others.
	unread := first.AddDate(100, 0, 0)
	for n := range many {
		at := unread
		if n >= many-maxRuns+1 {
			at = first.Add(time.Duration(n) * time.Minute)
		}
		index(filepath.Join(dir, "runs", name(n)), at)
	}
	index(filepath.Join(dir, "runs", "renamed"), first.AddDate(1, 0, 0)) // who has no such name is read
	session := filepath.Join(dir, "runs", "saturate-"+name(0))
	write(filepath.Join(session, saturation.SearchFile), "is not read")
	index(filepath.Join(session, "runs", name(0)+"-2"), unread)

	all, err := newHandler(t, dir).find()
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Items) != maxRuns || !all.More {
		t.Fatalf("%d are shown, more: %v", len(all.Items), all.More)
	}
	for i, item := range all.Items {
		want := "runs/" + name(many-i)
		if i == 0 {
			want = "runs/renamed"
		}
		if item.Run == nil || item.Run.Path != want || item.Run.Started.Equal(unread) {
			t.Fatalf("place %d has %+v, want %s", i, item, want)
		}
	}
}

func TestFilesAreServedApart(t *testing.T) {
	h := newHandler(t, results(t))
	for name, contentType := range map[string]string{
		record.PageFile: "text/html; charset=utf-8", record.RunFile: "application/json", record.BenchFile: "text/plain; charset=utf-8",
		record.RequestsFile: "application/octet-stream", record.StoredFile: "application/octet-stream", "aggregator.log": "text/plain; charset=utf-8", "../burst.svg": "image/svg+xml",
	} {
		path := filepath.Join(burst, name)
		answer := get(h, "/files/"+path)
		want, err := os.ReadFile(filepath.Join(h.dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != contentType || answer.Body.String() != string(want) {
			t.Errorf("%s: %d, %s, %d bytes", name, answer.Code, answer.Header().Get("Content-Type"), answer.Body.Len())
		}
		if policy := answer.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "sandbox allow-scripts") {
			t.Errorf("%s may do what this server's own pages may: %q", name, policy)
		}
	}
	if answer := get(h, "/files/"+burst+"/"); answer.Code != http.StatusFound || answer.Header().Get("Location") != "/files/"+burst+"/report.html" {
		t.Errorf("a result's folder does not open on its page: %d %s", answer.Code, answer.Header().Get("Location"))
	}
	folder := get(h, "/files/"+burst+"/?list").Body.String()
	if !strings.Contains(folder, `href="/files/`+burst+`/report.html"`) || strings.Contains(folder, ".data") {
		t.Errorf("%s", folder)
	}
	if answer := get(h, "/files/"+burst); answer.Code != http.StatusMovedPermanently || answer.Header().Get("Location") != "/files/"+burst+"/" {
		t.Errorf("without its slash: %d %s", answer.Code, answer.Header().Get("Location"))
	}
}

// A result whose folder has no page gets one when it is asked for: a search's probes have none, and
// git keeps none of the reference.
func TestPageIsMade(t *testing.T) {
	h := newHandler(t, results(t))
	probe := "runs/saturate-20261122-064110/runs/20261122-064110/saturation-probe-01-1"
	if answer := get(h, "/files/"+probe+"/"); answer.Code != http.StatusFound || answer.Header().Get("Location") != "/files/"+probe+"/report.html" {
		t.Errorf("the folder does not open on a page: %d %s", answer.Code, answer.Header().Get("Location"))
	}
	want, err := report.Page(filepath.Join(h.dir, filepath.FromSlash(probe)))
	if err != nil {
		t.Fatal(err)
	}
	answer := get(h, "/files/"+probe+"/report.html")
	if answer.Code != http.StatusOK || answer.Body.String() != string(want) || answer.Header().Get("Content-Type") != "text/html; charset=utf-8" ||
		!strings.Contains(answer.Header().Get("Content-Security-Policy"), "sandbox allow-scripts") {
		t.Errorf("%d %v, %d bytes", answer.Code, answer.Header(), answer.Body.Len())
	}
	if _, err := os.Stat(filepath.Join(h.dir, probe, record.PageFile)); err == nil {
		t.Error("the server wrote into the results")
	}

	log := filepath.Join(h.dir, probe, "aggregator.log")
	os.Remove(log)
	if err := os.Symlink(filepath.Join(h.dir, "..", "secret.txt"), log); err != nil {
		t.Fatal(err)
	}
	answer = get(h, "/files/"+probe+"/report.html")
	if text := answer.Body.String(); answer.Code != http.StatusInternalServerError || !strings.Contains(text, "aggregator.log is a link") || strings.Contains(text, secret) {
		t.Errorf("with a link: %d %s", answer.Code, text)
	}
	if answer := get(h, "/files/runs/report.html"); answer.Code != http.StatusNotFound {
		t.Errorf("the page of what is no result: %d", answer.Code)
	}
}

// A run's own folder can be shown too; it is its own list.
func TestOneRunIsShown(t *testing.T) {
	h := newHandler(t, filepath.Join(results(t), filepath.FromSlash(aRun)))
	text := get(h, "/").Body.String()
	for _, want := range []string{`href="/files/"`, `href="/files/burst-1/report.html"`, `value="."`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q:\n%s", want, text)
		}
	}
	if answer := get(h, "/files/"); answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), "burst-1/") {
		t.Errorf("its files: %d %s", answer.Code, answer.Body)
	}
}

func TestNothingOutsideIsServed(t *testing.T) {
	h := newHandler(t, results(t))
	for _, path := range []string{
		"/files/../secret.txt", "/files/../../secret.txt", "/files/runs/../../secret.txt", "/files/%2e%2e/secret.txt",
		"/files/..%2fsecret.txt", "/files/%2e%2e%2fsecret.txt", "/files/" + burst + "/..%2f..%2f..%2f..%2fsecret.txt",
		"/files/" + burst + "/escape.txt", "/files/" + burst + "/escape/secret.txt", "/files/" + burst + "/escape/",
		"/files//etc/passwd", "/files/%2fetc%2fpasswd", "/files/..%5csecret.txt", "/files/" + aRun + "/.data/secret.txt", "/files/" + aRun + "/.data/",
		"/files/latest/.data/secret.txt", "/files/%00", "/files/" + burst + "/run.json%00.html", "/files/nonexistent", "/files/" + burst + "/run.json/",
		"/nonexistent", "/compare?a=../secret.txt&b=" + burst, "/compare?a=" + burst + "/..&b=" + burst, "/compare?a=/etc&b=/etc", "/compare",
		"/compare?a=" + burst + "&b=" + aRun + "/.data",
	} {
		answer := get(h, path)
		for hops := 0; answer.Code == http.StatusMovedPermanently || answer.Code == http.StatusTemporaryRedirect; hops++ {
			if hops > 3 {
				t.Fatalf("%s leads from one page to the next", path)
			}
			answer = get(h, answer.Header().Get("Location"))
		}
		if answer.Code != http.StatusNotFound || strings.Contains(answer.Body.String(), secret) || strings.Contains(answer.Body.String(), "root:") {
			t.Errorf("%s: %d %.200s", path, answer.Code, answer.Body)
		}
	}
}

// An index that names a folder elsewhere, and one that is no index, are said to be so and lead
// nowhere.
func TestForeignIndex(t *testing.T) {
	dir := results(t)
	for name, text := range map[string]string{
		"a": `{"format":2,"results":[{"dir":"../../../.."}]}`, "b": `{"format":2,"results":[{"dir":".data"}]}`, "c": `{"format":9}`, "d": "{",
	} {
		if err := os.MkdirAll(filepath.Join(dir, "runs", name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "runs", name, record.IndexFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "runs", "e"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, filepath.FromSlash(aRun), record.IndexFile), filepath.Join(dir, "runs", "e", record.IndexFile)); err != nil {
		t.Fatal(err)
	}
	text := get(newHandler(t, dir), "/").Body.String()
	if strings.Count(text, `<tr class="group">`) != 3+4 || strings.Count(text, "is not the name of a folder beside") != 2 ||
		!strings.Contains(text, "format 9") || !strings.Contains(text, "unexpected EOF") {
		t.Errorf("%s", text)
	}
}

func TestCompare(t *testing.T) {
	h := newHandler(t, results(t))
	for _, test := range []struct{ a, b, verdict, says string }{
		{burst, burst, "not enough evidence", "throughput_stored_per_s"},
		{burst, killed, "not enough evidence", "WARNING: the scenarios differ: burst and kill/journal"},
		{aRun, aRun, "not enough evidence", "== kill/journal"},
	} {
		answer := get(h, "/compare?a="+test.a+"&b="+test.b)
		text := answer.Body.String()
		if answer.Code != http.StatusOK || !strings.Contains(text, "<h1>B against A: "+test.verdict) || !strings.Contains(text, test.says) {
			t.Errorf("%s and %s: %d\n%.300s", test.a, test.b, answer.Code, text)
		}
		if !strings.Contains(text, `src="data:image/svg&#43;xml;base64,`) && !strings.Contains(text, `src="data:image/svg+xml;base64,`) || strings.Contains(text, "ZgotmplZ") {
			t.Errorf("%s and %s have no picture", test.a, test.b)
		}
		if strings.Contains(text, os.TempDir()+"/sekali-compare") {
			t.Errorf("the page names a folder that is gone:\n%s", text)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "sekali-compare-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for listen, good := range map[string]bool{
		"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, "127.9.9.9:0": true,
		":8090": false, "0.0.0.0:8090": false, "[::]:8090": false, "192.0.2.1:80": false, "10.0.0.1:1": false, "127.0.0.1": false, "": false,
	} {
		if _, err := loopback(listen); (err == nil) != good {
			t.Errorf("%q: %v", listen, err)
		}
	}
	h := newHandler(t, results(t))
	for host, good := range map[string]bool{
		"127.0.0.1:8090": true, "localhost": true, "localhost:8090": true, "[::1]:8090": true, "[::1]": true,
		"results.example:8090": false, "192.0.2.1:8090": false, "localhost.example": false, "": false, "[::1": false,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		h.ServeHTTP(w, r)
		if (w.Code == http.StatusOK) != good || !good && w.Code != http.StatusForbidden {
			t.Errorf("%q: %d", host, w.Code)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "/files/"+burst+"/run.json", nil)
		r.Host = "127.0.0.1"
		h.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// TestSessions: a search and a sitting of A and B are one row each, with what they came to, and
// their runs below it.
func TestSessions(t *testing.T) {
	dir := results(t)
	sitting := filepath.Join(dir, "runs", "ab-20261124-064110")
	run := filepath.Join(sitting, "a", "runs", "20261124-064111")
	if err := resulttest.Write(filepath.Join(run, "noise-1"), resulttest.Model{Scenario: "noise", Ack: "store", Rate: 10, Measured: time.Second, EventsPerS: 4000, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(
		record.WriteIndex(run, record.Index{ID: "20261124-064111", StartedAt: time.Date(2026, 11, 24, 6, 41, 11, 0, time.UTC),
			Results: []record.Entry{{Dir: "noise-1", Scenario: "noise", Repeat: 1, Valid: true, Held: true}}}),
		os.WriteFile(filepath.Join(sitting, ab.File), []byte(`{"format":2,"scenarios":["noise"],"a":{"given":"main~5"},"b":{"given":"."},"pairs":20,"verdict":"worse"}`), 0o644),
		os.WriteFile(filepath.Join(dir, "runs", "saturate-20261122-064110", saturation.SearchFile),
			[]byte(`{"format":2,"objective":"p99<50ms","repeat":1,"events_per_request":10,"searches":[{"requests_per_s":700,"events_per_s":7000}]}`), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	text := get(newHandler(t, dir), "/").Body.String()
	for _, want := range []string{"worse: . against main~5, 20 pairs of noise", "p99&lt;50ms: answer: 700 requests/s, 7000 events/s", "<summary>1 runs</summary>"} {
		if strings.Count(text, want) < 1 {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if at := strings.Index(text, "<b>A and B</b>"); at < 0 || at > strings.Index(text, `href="/files/`+aRun) || at > strings.Index(text, "<b>search</b>") {
		t.Error("the newest is not the first")
	}
}

// TestTrendAndSparks: a scenario's figures by commit, and the queue depth of each result.
func TestTrendAndSparks(t *testing.T) {
	h := newHandler(t, results(t))
	trend := get(h, "/trend?of=kill%2Fjournal")
	if text := trend.Body.String(); trend.Code != http.StatusOK || !strings.Contains(text, "data:image/svg") || !strings.Contains(text, ">INVALID<") || !strings.Contains(text, "synthetic &lt;cpu&gt;") {
		t.Errorf("%d\n%s", trend.Code, text)
	}
	if answer := get(h, "/trend?of=nosuch"); answer.Code != http.StatusNotFound {
		t.Errorf("a trend of nothing: %d", answer.Code)
	}
	spark := get(h, "/spark/"+killed)
	if spark.Code != http.StatusOK || spark.Header().Get("Content-Type") != "image/svg+xml" || strings.Count(spark.Body.String(), "M") < 2 {
		t.Errorf("no spark with a gap where the kill was: %d %s", spark.Code, spark.Body)
	}
	for _, none := range []string{"/spark/" + aRun, "/spark/../secret", "/spark/" + aRun + "/.data", "/spark/%2e%2e/x", "/spark/"} {
		if answer := get(h, none); answer.Code == http.StatusOK || answer.Code >= 500 {
			t.Errorf("%s: %d", none, answer.Code)
		}
	}
}

// TestListHasFigures: the list says how fast a result was, what it lost, and which runs are not
// whole.
func TestListHasFigures(t *testing.T) {
	dir := results(t)
	before := list(t, dir)
	if cells := regexp.MustCompile(`<td class="number">[0-9][0-9 .]*</td>`).FindAllString(before, -1); len(cells) < 7 { // of 10 requests there is neither rate nor percentile
		t.Errorf("figures: %q", cells)
	}
	if strings.Contains(before, "interrupted") {
		t.Error("a whole run is called interrupted")
	}
	mark := filepath.Join(dir, "runs", "20261123-064110", record.InterruptedFile)
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(list(t, dir), "interrupted: not all") {
		t.Error("an interrupted run is not called so")
	}
}

func TestRunUntilItIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, Config{Dir: results(t), Listen: "127.0.0.1:0"}, writer) }()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(line)
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err, line)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || !strings.Contains(string(body), "burst") {
		t.Errorf("%v %s", err, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := Run(context.Background(), Config{Dir: t.TempDir(), Listen: "0.0.0.0:0"}, io.Discard); err == nil || !strings.Contains(err.Error(), "not on the loopback") {
		t.Error(err)
	}
	if err := Run(context.Background(), Config{Dir: "/nonexistent", Listen: "127.0.0.1:0"}, io.Discard); err == nil {
		t.Error("a folder that does not exist was served")
	}
}

// TestInterruptedRun: a run that was ended early says so, and only that one.
func TestInterruptedRun(t *testing.T) {
	dir := results(t)
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(aRun), record.InterruptedFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if text := list(t, dir); strings.Count(text, "interrupted:") != 1 {
		t.Errorf("not said once:\n%s", text)
	}
}

// changeIndex changes the index of the run that has two results.
func changeIndex(t *testing.T, dir string, change func(*record.Index)) {
	t.Helper()
	folder := filepath.Join(dir, filepath.FromSlash(aRun))
	index, err := record.ReadIndex(folder)
	if err == nil {
		change(&index)
		err = record.WriteIndex(folder, index)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestKilledRun: a run that was killed has an index without an end, and is shown as what it is.
func TestKilledRun(t *testing.T) {
	dir := results(t)
	changeIndex(t, dir, func(i *record.Index) { i.FinishedAt, i.Planned = time.Time{}, 5 })
	if text := list(t, dir); strings.Count(text, "interrupted, or still under way: 2 of 5 cases") != 1 || !strings.Contains(text, "kill/journal") {
		t.Errorf("%s", text)
	}
}

// TestCaseWithoutAResult: a case that crashed is a row, and FAILED. There is nothing to compare it
// by, and its name leads to what it left in the run's folder. What was skipped is no failure.
func TestCaseWithoutAResult(t *testing.T) {
	dir := results(t)
	changeIndex(t, dir, func(i *record.Index) {
		i.LeftOut = []record.LeftOut{{Scenario: "kill", Case: "store", Repeat: 1, Code: record.LeftFailed, Why: "failed: ended by itself: exit code 1"},
			{Scenario: "network", Repeat: 1, Code: record.LeftSkipped, Why: "skipped: it needs root"}}
	})
	before, after := list(t, results(t)), list(t, dir)
	if strings.Count(after, ">FAILED<") != strings.Count(before, ">FAILED<")+1 || strings.Contains(after, "it needs root") {
		t.Errorf("%s", after)
	}
	if strings.Count(after, `type="radio"`) != strings.Count(before, `type="radio"`) {
		t.Error("it can be chosen to be compared")
	}
	row := regexp.MustCompile(`<a href="([^"]*)">kill/store</a>.*`).FindStringSubmatch(after)
	if row == nil || row[1] != "/files/"+aRun+"/" || !strings.Contains(row[0], "no result: ended by itself: exit code 1") {
		t.Errorf("%q", row)
	}
	of := filepath.Join(dir, filepath.FromSlash(aRun))
	row = regexp.MustCompile(`<a href="([^"]*)">kill/store</a>`).FindStringSubmatch(list(t, of))
	if row == nil || row[1] != "/files/" {
		t.Errorf("of the run alone: %q", row)
	}
}

// TestVerdictIsThatOfTheRun: what was refused in an INVALID run is no failure, as `bench run` says;
// what its audit found is.
func TestVerdictIsThatOfTheRun(t *testing.T) {
	for broken, want := range map[string]string{"refused": "INVALID", "lost": "FAILED"} {
		dir := results(t)
		changeIndex(t, dir, func(i *record.Index) { i.Results[1].Held = false })
		rewrite(t, filepath.Join(dir, filepath.FromSlash(killed)), func(r *record.Run) {
			for i := range r.Expectations {
				r.Expectations[i].Held = r.Expectations[i].Name != broken
			}
			if broken == "lost" {
				r.Audit.Lost = 12
			}
		})
		text := list(t, dir)
		if verdict := regexp.MustCompile(`>kill/journal</a>[^\n]*\n<td class="bad">(\w+)</td>`).FindStringSubmatch(text); verdict == nil || verdict[1] != want {
			t.Errorf("%s: %q, want %s\n%s", broken, verdict, want, text)
		}
	}
}

// TestStopDoesNotWaitForAComparison: who asks for the end gets it, whatever takes long.
func TestStopDoesNotWaitForAComparison(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, release := make(chan struct{}), make(chan struct{})
	long := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(begun); <-release })
	ctx, cancel := context.WithCancel(t.Context())
	ended, cut := make(chan error, 1), make(chan error, 1)
	go func() { ended <- serve(ctx, listener, long, 10*time.Millisecond) }()
	go func() {
		answer, err := http.Get("http://" + listener.Addr().String())
		if err == nil {
			answer.Body.Close()
		}
		cut <- err
	}()
	<-begun
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-cut; err == nil {
		t.Error("the request was answered")
	}
	close(release)
	http.DefaultClient.CloseIdleConnections()
}
