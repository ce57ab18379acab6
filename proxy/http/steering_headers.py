"""Request headers that make a known backend serve another path, host or file than the request names. Data only.

Sitelatch judges the path and the host that it forwards. A backend that takes them from one of these headers would serve
something that was not judged. So these headers are never forwarded, on any route, not even from trusted proxies. A test
compares these rows with the table in docs/backends.md.
"""

from proxy.http.header_name_set import HeaderNameSet
from proxy.http.known_headers import known_headers

_PARAM_MINER = "PortSwigger/param-miner:resources/headers"
_BYPASS = "lists of bypass headers"
_NIFI = "https://nifi.apache.org/docs/nifi-docs/html/administration-guide.html#proxy_configuration"
_YII = "yiisoft/yii2:framework/web/Request.php"
_SWIFT = "openstack/swift:swift/common/middleware/gatekeeper.py"
_JETTY = "jetty/jetty.project (ForwardedRequestCustomizer.java)"
_ASGI = "https://asgi.readthedocs.io/en/latest/specs/www.html"
_NGINX = "https://docs.nginx.com/nginx/admin-guide/security-controls/configuring-subrequest-authentication/"
_COUCHDB = "apache/couchdb:src/chttpd/src/chttpd.erl"
_NEXT_SERVER = "vercel/next.js:packages/next/src/server/base-server.ts"
_NEXT_IPC = "vercel/next.js:packages/next/src/server/lib/server-ipc/utils.ts"
_LAMBDA_ADAPTER = "https://github.com/awslabs/aws-lambda-web-adapter"
_HOST_ATTACKS = "https://portswigger.net/web-security/host-header/exploiting"
_WEBLOGIC = "https://docs.oracle.com/middleware/1221/webtier/develop-plugin/"
_NITRO = "nitrojs/nitro:src/presets/vercel/runtime/isr.ts"
_NEXT_NAMES = "vercel/next.js:packages/next/src/lib/constants.ts"
_SVELTEKIT_REMOTE = "sveltejs/kit:packages/kit/src/runtime/server/respond.js"
_ZOPE = "zopefoundation/Zope:src/ZPublisher/HTTPRequest.py"
_STRUTS = "apache/struts:core/src/main/java/org/apache/struts2/dispatcher/mapper/DefaultActionMapper.java"
_SLING = "apache/sling-org-apache-sling-servlets-post (SlingPostConstants.java)"
_ASTRO = "withastro/astro:packages/integrations/vercel/src/serverless/entrypoint.ts"

# fmt: off
STEERING_HEADERS = known_headers((
    # Where the application is mounted: a prefix is removed from the path, or added to it.
    ("script-name", "Gunicorn (as SCRIPT_NAME), CGI", "mount point, cut from the path", "benoitc/gunicorn:gunicorn/http/wsgi.py", "verified"),
    ("path-info", "Gunicorn (as PATH_INFO), CGI", "path", "https://docs.gunicorn.org/en/stable/settings.html#forwarder-headers", "documented"),
    ("x-script-name", "Flask and Django behind a prefix middleware, klaus, Radicale, Tandoor", "mount point, cut from the path", "jonashaag/klaus:klaus/utils.py", "verified"),
    ("x-path-info", "PHP applications on IIS", "path", "public PHP code takes PATH_INFO from it", "reported"),
    ("daphne-root-path", "Daphne", "mount point (root_path)", "django/daphne:daphne/http_protocol.py", "verified"),
    ("root-path", "ASGI applications", "mount point", _ASGI, "reported"),
    ("x-root-path", "ASGI applications", "mount point", _ASGI, "reported"),
    ("x-traversal-path", "Plack, WSGIProxy", "prefix, cut from the path", "bowman/Plack-Middleware-ReverseProxyPath:lib/Plack/Middleware/ReverseProxyPath.pm", "verified"),
    ("x-traversal-query-string", "WSGIProxy", "part of the query", "the project WSGIProxy", "documented"),
    ("x-vhm-*", "Pyramid, repoze.vhm", "root of traversal, host", "Pylons/pyramid:src/pyramid/interfaces.py (VH_ROOT_KEY)", "verified"),
    ("x-proxycontextpath", "Apache NiFi, Jupyter Server Proxy", "context path", "apache/nifi (PROXY_CONTEXT_PATH_HTTP_HEADER)", "verified"),
    ("x-proxyhost", "Apache NiFi", "host", _NIFI, "documented"),
    ("x-proxyport", "Apache NiFi", "port", _NIFI, "documented"),
    ("x-proxyscheme", "Apache NiFi", "scheme", _NIFI, "documented"),
    ("x-ingress-path", "Home Assistant add-ons", "mount point", "https://developers.home-assistant.io/docs/add-ons/presentation#ingress", "documented"),
    ("x-base-path", "PHP applications", "mount point", "public PHP code reads HTTP_X_BASE_PATH", "reported"),
    ("x-context-path", "Java applications", "context path", _PARAM_MINER, "reported"),
    ("context-path", "ColdFusion, CGI", "context path", _PARAM_MINER, "reported"),
    ("request-base", "Dancer", "mount point", "https://metacpan.org/dist/Dancer/view/lib/Dancer/Deployment.pod", "documented"),
    ("x-request-base", "Catalyst (TraitFor::Request::ProxyBase)", "mount point", "https://metacpan.org/pod/Catalyst::TraitFor::Request::ProxyBase", "documented"),
    ("path-base", "ASP.NET Core applications", "mount point", _PARAM_MINER, "reported"),

    # The path or the method before a rewrite, which the backend uses instead of the request's own.
    ("x-up-devcap-post-charset", "ASP.NET Framework", "charset in which the query is read", "OWASP Core Rule Set 920490", "documented"),
    ("x-original-url", "Symfony, Laminas, WordPress, Drupal, IIS", "path", "CVE-2018-14773", "documented"),
    ("x-original-uri", "applications behind nginx auth_request, Python on Vercel", "path", _NGINX, "documented"),
    ("x-original-path", "applications behind a gateway", "path", _BYPASS, "reported"),
    ("x-original-query", "applications behind a gateway", "query", _BYPASS, "reported"),
    ("x-original-prefix", "ASP.NET Core", "mount point", "dotnet/aspnetcore:src/Middleware/HttpOverrides/src/ForwardedHeadersDefaults.cs", "documented"),
    ("x-original-method", "applications behind nginx auth_request", "method", _NGINX, "reported"),
    ("x-original-http-command", "Oracle Access Manager, CA SiteMinder", "method and path", _PARAM_MINER, "reported"),
    ("x-rewrite-*", "Yii (X-Rewrite-Url), Symfony, Laminas, ISAPI_Rewrite", "path", _YII, "verified"),
    ("x-override-url", "unknown", "path", _BYPASS, "reported"),
    ("x-http-path-override", "unknown", "path", _PARAM_MINER, "reported"),
    ("x-http-destinationurl", "unknown", "path", _PARAM_MINER, "reported"),
    ("x-proxy-url", "unknown", "path", _PARAM_MINER, "reported"),
    ("proxy-url", "unknown", "path", _PARAM_MINER, "reported"),
    ("x-request-uri", ".NET, PHP and Django applications", "path", "public code reads HTTP_X_REQUEST_URI for the URL", "reported"),
    ("x-request-path", "applications behind a gateway", "path", _BYPASS, "reported"),
    ("request-uri", "CGI", "path", _PARAM_MINER, "reported"),
    ("http-url", "IIS and CGI", "path", _PARAM_MINER, "reported"),
    ("unencoded-url", "Symfony and Laminas (as UNENCODED_URL)", "path", _PARAM_MINER, "reported"),
    ("orig-path-info", "Symfony and Laminas (as ORIG_PATH_INFO)", "path", _PARAM_MINER, "reported"),
    ("path-translated", "CGI", "file", _PARAM_MINER, "reported"),
    ("redirect-status", "php-cgi", "switches off force_redirect", "php/php-src:sapi/cgi/cgi_main.c", "verified"),
    ("x-real-path", "Python and PHP applications", "path", "public Python code on Vercel reads HTTP_X_REAL_PATH", "reported"),
    ("x-replaced-path", "Traefik (ReplacePath), applications behind it", "path", "traefik/traefik:pkg/middlewares/replacepath/replace_path.go", "verified"),
    ("x-ms-original-url", "Azure Static Web Apps", "path", "https://learn.microsoft.com/en-us/azure/static-web-apps/", "documented"),
    ("x-waws-unencoded-url", "applications on Azure App Service", "path", "public Express code sets req.originalUrl from it", "reported"),
    ("x-cf-forwarded-url", "Cloud Foundry route services", "URL", "https://docs.cloudfoundry.org/services/route-services.html", "documented"),
    ("x-couchdb-vhost-path", "CouchDB", "requested path", _COUCHDB, "verified"),
    ("x-couchdb-requested-path", "CouchDB", "requested path", _COUCHDB, "verified"),
    ("x-param-override-*", "ServiceStack", "parameters of the request", "ServiceStack/ServiceStack:ServiceStack/src/ServiceStack.Common/ViewUtils.cs", "verified"),

    # Headers with which a framework or a proxy sends messages to itself.
    ("x-middleware-*", "Next.js", "skips the middleware, rewrites", "CVE-2025-29927", "verified"),
    ("x-invoke-*", "Next.js", "path, query, status", _NEXT_SERVER, "documented"),
    ("x-matched-path", "Next.js, functions on Vercel", "path", _NEXT_SERVER, "verified"),
    ("x-now-route-matches", "Next.js, Nitro and Nuxt on Vercel", "path", _NITRO, "verified"),
    ("x-next-resume-state-length", "Next.js", "state of a rendering", _NEXT_IPC, "documented"),
    ("x-action-forwarded", "Next.js", "marks an action as forwarded", _NEXT_IPC, "documented"),
    ("next-url", "Next.js (intercepting routes)", "parameters of the route", "vercel/next.js:packages/next/src/lib/generate-interception-routes-rewrites.ts", "verified"),
    ("x-opennext-*", "OpenNext", "URL before a rewrite, resolved route", "opennextjs/opennextjs-aws:packages/open-next/src/core/routingHandler.ts", "verified"),
    ("x-sveltekit-pathname", "SvelteKit (remote functions)", "path, parameters of the route", _SVELTEKIT_REMOTE, "verified"),
    ("x-sveltekit-search", "SvelteKit (remote functions)", "query", _SVELTEKIT_REMOTE, "verified"),
    ("x-netlify-original-*", "applications on Netlify, Netlify CLI", "path, query", "netlify/cli:src/utils/proxy.ts", "documented"),
    ("x-nf-original-*", "applications on Netlify", "path, query", "public functions on Netlify read x-nf-original-path", "reported"),
    ("x-vercel-original-*", "applications on Vercel", "path", "public Python code reads HTTP_X_VERCEL_ORIGINAL_URL", "reported"),
    ("x-astro-*", "Astro on Vercel and Netlify", "path, locals", _ASTRO, "verified"),
    ("x-react-router-*", "React Router 7", "data of loaders, rendering mode", "CVE-2025-43864, CVE-2025-43865", "verified"),
    ("x-remix-*", "Remix", "state of responses, between its servers", "https://remix.run/docs", "reported"),
    ("x-nuxt-*", "Nuxt", "rendering mode, error page", "nuxt/nuxt (x-nuxt-no-ssr, x-nuxt-error)", "verified"),
    ("x-nitro-*", "Nitro", "prerendering", "https://nitro.build", "reported"),
    ("x-apigateway-*", "aws-serverless-express", "the whole event", "https://github.com/CodeGenieApp/serverless-express", "verified"),
    ("x-amzn-request-context", "AWS Lambda Web Adapter", "the event's context", _LAMBDA_ADAPTER, "documented"),
    ("x-amzn-lambda-context", "AWS Lambda Web Adapter", "the function's context", _LAMBDA_ADAPTER, "documented"),
    ("x-amzn-remapped-*", "AWS API Gateway", "host", _PARAM_MINER, "reported"),
    ("x-backend-*", "OpenStack Swift", "storage policy, replication, host (X-Backend-Host of others)", _SWIFT, "verified"),
    ("x-container-host", "OpenStack Swift", "node of the container", _SWIFT, "verified"),
    ("x-account-host", "OpenStack Swift", "node of the account", _SWIFT, "verified"),
    ("camel*", "Apache Camel", "path, query and URI of the next call", "CVE-2025-27636, CVE-2025-29891", "documented"),

    # Another host, or another server behind the backend.
    ("x-host", "applications", "host", _HOST_ATTACKS, "reported"),
    ("x-original-host", "Yii, Azure Application Gateway", "host", _YII, "verified"),
    ("x-http-host-override", "applications", "host", _HOST_ATTACKS, "reported"),
    ("x-host-override", "applications", "host", _BYPASS, "reported"),
    ("x-proxy-host", "applications", "host", _BYPASS, "reported"),
    ("proxy-host", "applications", "host", _PARAM_MINER, "reported"),
    ("x-real-host", "applications", "host", _BYPASS, "reported"),
    ("x-server-name", "applications", "host", _PARAM_MINER, "reported"),
    ("x-server-port", "applications", "port", _PARAM_MINER, "reported"),
    ("x-forward-host", "applications", "host", _BYPASS, "reported"),
    ("disguised-host", "applications on Azure App Service", "host", "https://learn.microsoft.com/en-us/azure/app-service/", "reported"),
    ("l5d-*", "Linkerd (l5d-dst-override, l5d-dtab)", "destination", "linkerd/linkerd2-proxy (DST_OVERRIDE_HEADER)", "verified"),
    ("dapr-app-id", "Dapr", "application that is called", "https://docs.dapr.io/developing-applications/building-blocks/service-invocation/", "documented"),
    ("knative-serving-*", "Knative (activator)", "namespace and revision that is called", "knative/serving:pkg/activator/activator.go", "documented"),
    ("dtab-local", "Finagle, Linkerd 1", "routing table", "https://twitter.github.io/finagle/guide/Names.html", "documented"),
    ("x-envoy-*", "Envoy (original path, original-dst-host, retries, internal)", "path, destination, trust", "https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers", "documented"),
    ("x-weblogic-*", "WebLogic", "server of the cluster", _WEBLOGIC, "documented"),
    ("wl-proxy-*", "WebLogic", "scheme, client address, certificate", _WEBLOGIC, "documented"),
    ("x-arr-*", "IIS Application Request Routing", "scheme, certificate", "https://learn.microsoft.com/en-us/iis/extensions/planning-for-arr/", "documented"),

    # Another scheme, for links and redirects and, in some frameworks, for the route. X-Forwarded-Proto is forwarded.
    ("x-forwarded-*", "Werkzeug ProxyFix (Prefix), Spring (Prefix, Ssl), Paste (Script-Name), Traefik (Uri, Method), Rack (Scheme, Ssl)", "mount point, path, method, scheme, server; For, Proto, Host and Port are set by Sitelatch or believed from trusted proxies", "pallets/werkzeug:src/werkzeug/middleware/proxy_fix.py", "verified"),
    ("x-forwarded", "applications", "as Forwarded", _BYPASS, "reported"),
    ("x-url-scheme", "Gunicorn, Django applications", "scheme", _PARAM_MINER, "reported"),
    ("x-scheme", "Tornado, klaus", "scheme", "tornadoweb/tornado:tornado/httpserver.py", "documented"),
    ("front-end-https", "Microsoft ISA and OWA, Yii", "scheme", _YII, "documented"),
    ("x-proxied-https", "Jetty", "scheme", _JETTY, "verified"),
    ("proxy-ssl-id", "Jetty, Oracle iPlanet", "scheme, TLS session", _JETTY, "verified"),
    ("proxy-auth-cert", "Jetty, Oracle iPlanet", "scheme, certificate", _JETTY, "verified"),

    # The file that the server in front of the application sends.
    ("x-sendfile*", "Rack::Sendfile, Symfony (X-Sendfile-Type)", "file that is sent", "symfony/http-foundation:BinaryFileResponse.php", "verified"),
    ("x-accel-*", "Rack::Sendfile, Symfony (X-Accel-Mapping), nginx", "file that is sent", "rack/rack:lib/rack/sendfile.rb", "verified"),
))
# fmt: on

STEERING_PARAMETERS = (
    ("x_astro_path", "Astro on Vercel", _ASTRO),
    ("__pathname", "SvelteKit on Vercel", "sveltejs/kit:packages/adapter-vercel/files/serverless.js"),
    ("__isr_route", "Nitro and Nuxt on Vercel", _NITRO),
    ("nxtp*", "Next.js", _NEXT_NAMES),
    ("nxti*", "Next.js", _NEXT_NAMES),
    ("rest_route", "WordPress", "WordPress/WordPress:wp-includes/rest-api.php"),
    ("_url", "Phalcon", "phalcon/cphalcon (Router.php, getRewriteUri)"),
    ("_route_", "OpenCart", "opencart/opencart (seo_url.php)"),
    ("__sugar_url", "SugarCRM", "the SugarCRM REST API (RestRequest.php, getRawPath)"),
    ("kohana_uri", "Kohana 2", "gallery/gallery3:system/libraries/Router.php"),
    ("umbpageid", "Umbraco", "umbraco/Umbraco-CMS (ContentFinderByPageIdQuery.cs)"),
    ("__ws", "rails_multisite, Discourse", "discourse/rails_multisite:lib/rails_multisite/connection_management.rb"),
    ("camel*", "Apache Camel", "CVE-2025-29891"),
    ("*:method", "Zope and Plone", _ZOPE),
    ("*:default_method", "Zope and Plone", _ZOPE),
    ("*:action", "Zope and Plone", _ZOPE),
    ("*:default_action", "Zope and Plone", _ZOPE),
    ("action:*", "Struts 2", _STRUTS),
    ("method:*", "Struts 2", _STRUTS),
    ("redirect:*", "Struts 2", _STRUTS),
    ("redirectaction:*", "Struts 2", _STRUTS),
    ("redirect-action:*", "Struts 2", _STRUTS),
    ("wicket:*", "Apache Wicket", "apache/wicket (WebRequestCodingStrategy.java)"),
    (":dest", "Apache Sling, Adobe Experience Manager", _SLING),
    (
        "_charset_",
        "Apache Sling, Adobe Experience Manager",
        "apache/sling-org-apache-sling-engine (Util.java, fixEncoding)",
    ),
    (":applyto", "Apache Sling, Adobe Experience Manager", _SLING),
    ("*@copyfrom", "Apache Sling, Adobe Experience Manager", _SLING),
    ("*@movefrom", "Apache Sling, Adobe Experience Manager", _SLING),
)
"""Query parameters from which a known backend takes the path, a second path, or the charset of the query: the name,
the software, and the source.

A final `*` makes the name a prefix, and a `*` at the start makes it an ending."""

_STEERING = HeaderNameSet(row.name.encode() for row in STEERING_HEADERS)


def steers_backends(folded: bytes) -> bool:
    """Return whether a folded header name (`headers.fold_name`) is in the table."""
    return _STEERING.covers(folded)
