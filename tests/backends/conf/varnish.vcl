# Varnish in front of an API: the site taken from the URL by the usual regular expressions.
vcl 4.1;

backend reporter {
    .host = "127.0.0.1";
    .port = "BEHIND";
}

sub vcl_recv {
    unset req.http.X-Seen-Query-Regsub;
    unset req.http.X-Seen-Path-Regsub;
    if (req.url ~ "[?&]site=") {
        set req.http.X-Seen-Query-Regsub = regsub(req.url, ".*[?&]site=([^&]*).*", "\1");
    }
    if (req.url ~ "^/api/sites/[^/?]+/[^?]") {
        set req.http.X-Seen-Path-Regsub = regsub(req.url, "^/api/sites/([^/?]+)/.*", "\1");
    }
    return (pass);
}
