// Routers on Go's net/http: gin or echo, by the second argument.
package main

import (
	"encoding/json"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo"
)

var routes = [][2]string{
	{"/api/sites", "list"}, {"/api/reports/everything", "everything"}, {"/api/query", "query"}, {"/api/lookup", "lookup"},
}

func one(value string) []string {
	if value == "" {
		return []string{}
	}
	return []string{value}
}

func answer(w http.ResponseWriter, r *http.Request, endpoint string, site string, more ...[]any) {
	reads := [][]any{
		{"query", "URL.Query()", append([]string{}, r.URL.Query()["site"]...)},
		{"header", "Header.Get", one(r.Header.Get("X-Site"))},
		{"host", "Host", one(r.Host)},
	}
	reads = append(reads, more...)
	report := map[string]any{
		"id": r.Header.Get("X-Request-Id"), "method": r.Method, "endpoint": endpoint, "site": site, "reads": reads, "path": r.URL.Path,
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(report)
}

func ginRouter() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	serve := func(endpoint string) gin.HandlerFunc {
		return func(c *gin.Context) {
			answer(c.Writer, c.Request, endpoint, c.Param("site"), []any{"query", "Query", one(c.Query("site"))},
				[]any{"query", "QueryArray", append([]string{}, c.QueryArray("site")...)})
		}
	}
	for _, route := range routes {
		router.Any(route[0], serve(route[1]))
	}
	router.Any("/api/sites/:site/*rest", serve("site"))
	router.Any("/api/export/*rest", serve("query"))
	router.Any("/static/*rest", serve("static"))
	router.NoRoute(serve("none"))
	router.RedirectTrailingSlash = false
	return router
}

func echoRouter() http.Handler {
	router := echo.New()
	serve := func(endpoint string) echo.HandlerFunc {
		return func(c echo.Context) error {
			answer(c.Response(), c.Request(), endpoint, c.Param("site"), []any{"query", "QueryParam", one(c.QueryParam("site"))},
				[]any{"merged", "FormValue", one(c.FormValue("site"))})
			return nil
		}
	}
	for _, route := range routes {
		router.Any(route[0], serve(route[1]))
	}
	router.Any("/api/sites/:site/*", serve("site"))
	router.Any("/api/export/*", serve("query"))
	router.Any("/static/*", serve("static"))
	router.Any("/*", serve("none"))
	return router
}

func main() {
	routers := map[string]func() http.Handler{"gin": ginRouter, "echo": echoRouter}
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], routers[os.Args[2]]()))
}
