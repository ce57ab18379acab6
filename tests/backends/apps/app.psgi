# Plack::Request on any PSGI server.

use strict;
use warnings;
use JSON::PP;
use Plack::Request;

my %known = (
    '/api/sites' => 'list', '/api/reports/everything' => 'everything', '/api/query' => 'query', '/api/lookup' => 'lookup',
);

sub endpoint_of {
    my ($path) = @_;
    return ($known{$path}, undef) if exists $known{$path};
    return ('site', $1)           if $path =~ m{\A/api/sites/([^/]*)/.*}s;
    return ('query', undef)       if $path =~ m{\A/api/export/};
    return ('static', undef)      if $path =~ m{\A/static/};
    return ('none', undef);
}

my $json = JSON::PP->new->ascii->allow_nonref;

sub {
    my $request = Plack::Request->new(shift);
    my ($endpoint, $site) = endpoint_of($request->path_info);
    my $id      = $request->header('X-Request-Id');
    my $header  = $request->header('X-Site');
    my @merged  = $request->parameters->get_all('site');
    my $content = $json->encode({
        id => $id, method => $request->method, endpoint => $endpoint, site => $site, path => $request->path_info,
        script => $request->script_name,
        reads => [
            ['query',  'query_parameters', [$request->query_parameters->get_all('site')]],
            ['merged', 'parameters',       \@merged],
            ['host',   'uri',              [$request->uri->host]],
            ['header', 'header',           [defined $header ? $header : ()]],
        ],
    });
    return [200, ['Content-Type' => 'application/json', 'Content-Length' => length $content], [$content]];
};
