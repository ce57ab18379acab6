// Go's net/http with its ServeMux.
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
)

func one(value string) []string {
	if value == "" {
		return []string{}
	}
	return []string{value}
}

func answer(endpoint string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		found, site := endpoint, ""
		if endpoint == "site" {
			segments := strings.Split(r.URL.Path, "/")
			if len(segments) > 4 {
				site = segments[3]
			} else {
				found = "none"
			}
		}
		reads := [][]any{
			{"query", "URL.Query().Get", one(r.URL.Query().Get("site"))},
			{"query", "URL.Query()[]", append([]string{}, r.URL.Query()["site"]...)},
			{"merged", "FormValue", one(r.FormValue("site"))},
			{"header", "Header.Get", one(r.Header.Get("X-Site"))},
			{"host", "Host", one(r.Host)},
		}
		report := map[string]any{"id": r.Header.Get("X-Request-Id"), "method": r.Method, "endpoint": found, "site": site, "reads": reads, "path": r.URL.Path}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(report)
	}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/sites", answer("list"))
	mux.HandleFunc("/api/reports/everything", answer("everything"))
	mux.HandleFunc("/api/query", answer("query"))
	mux.HandleFunc("/api/export/", answer("query"))
	mux.HandleFunc("/api/lookup", answer("lookup"))
	mux.HandleFunc("/api/sites/", answer("site"))
	mux.HandleFunc("/static/", answer("static"))
	mux.HandleFunc("/", answer("none"))
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], mux))
}
