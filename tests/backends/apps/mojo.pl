#!/usr/bin/perl
# Mojolicious::Lite.

use Mojolicious::Lite -signatures;

app->log->level('fatal');
app->secrets(['a test']);

sub answer ($c, $endpoint) {
    my $query = $c->req->query_params;
    my @reads = (
        ['query',  'query_params->param',       [grep { defined } $query->param('site')]],
        ['query',  'query_params->every_param', $query->every_param('site')],
        ['header', 'headers->header',           [grep { defined } $c->req->headers->header('X-Site')]],
    );
    push @reads, ['host', 'req->url->to_abs', [grep { defined } $c->req->url->to_abs->host]];
    push @reads, ['merged', 'req->param', $c->req->every_param('site')];
    $c->render(json => {
        id => $c->req->headers->header('X-Request-Id'), method => $c->req->method, endpoint => $endpoint,
        site => $endpoint eq 'site' ? $c->stash('site') : undef, reads => \@reads, path => $c->req->url->path->to_string,
    });
}

my %known = (
    '/api/sites' => 'list', '/api/reports/everything' => 'everything', '/api/query' => 'query', '/api/export/*rest' => 'query',
    '/api/lookup' => 'lookup', '/static/*rest' => 'static', '/api/sites/#site/*rest' => 'site', '/' => 'none', '/*rest' => 'none',
);
for my $path (sort { length $b <=> length $a } keys %known) {
    any $path => sub ($c) { answer($c, $known{$path}) };
}

app->start;
