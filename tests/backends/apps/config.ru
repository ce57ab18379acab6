# Sinatra on Rack with its defaults, which include Rack::MethodOverride.

require 'json'
require 'sinatra/base'

class App < Sinatra::Base
  set :method_override, true
  set :protection, false
  set :show_exceptions, false
  set :raise_errors, false
  set :logging, false

  def flat(value)
    case value
    when nil then []
    when Hash then value.values.flat_map { |member| flat(member) }
    when Array then value.flat_map { |member| flat(member) }
    else [value.to_s]
    end
  end

  def answer(endpoint, site = nil)
    reads = [
      ['query', 'request.GET', flat(request.GET['site'])],
      ['header', 'HTTP_X_SITE', flat(request.env['HTTP_X_SITE'])],
      ['host', 'request.host', flat(request.host)],
    ]
    reads << ['merged', 'request.params', flat(request.params['site'])]
    report = { id: request.env['HTTP_X_REQUEST_ID'], method: request.request_method, endpoint: endpoint, site: site, reads: reads,
               path: request.path_info, script: request.script_name }
    content_type 'application/json'
    JSON.generate(report.transform_values { |value| clean(value) })
  end

  def clean(value)
    case value
    when String then value.dup.force_encoding('UTF-8').scrub('?')
    when Array then value.map { |member| clean(member) }
    else value
    end
  end

  METHODS = %w[GET HEAD OPTIONS POST PUT PATCH DELETE TRACE COPY MOVE PROPFIND PROPPATCH MKCOL LOCK UNLOCK REPORT SEARCH LIST QUERY
               PURGE LINK UNLINK ACL].freeze
  METHODS.each do |verb|
    route(verb, '/api/sites') { answer('list') }
    route(verb, '/api/reports/everything') { answer('everything') }
    route(verb, '/api/query') { answer('query') }
    route(verb, '/api/export/*') { answer('query') }
    route(verb, '/api/lookup') { answer('lookup') }
    route(verb, '/static/*') { answer('static') }
    route(verb, '/api/sites/:site/*') { |site, _| answer('site', site) }
    route(verb, '*') { answer('none') }
  end
end

run App
