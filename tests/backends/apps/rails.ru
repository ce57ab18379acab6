# Rails on any Rack server, as one file. params merges the path, the body and the query.

require 'action_controller/railtie'
require 'json'

class App < Rails::Application
  config.eager_load = false
  config.secret_key_base = 'a test' * 10
  config.logger = Logger.new(nil)
  config.hosts.clear
  config.consider_all_requests_local = false
  routes.append do
    methods = %i[get head options post put patch delete]
    { '/api/sites' => 'list', '/api/reports/everything' => 'everything', '/api/query' => 'query', '/api/lookup' => 'lookup' }.each do |path, name|
      match path, to: 'reads#answer', via: :all, defaults: { endpoint: name }, format: false
    end
    match '/api/sites/:own/*rest', to: 'reads#answer', via: :all, defaults: { endpoint: 'site' }, format: false, constraints: { own: %r{[^/]+} }
    match '/api/export/*rest', to: 'reads#answer', via: :all, defaults: { endpoint: 'query' }, format: false
    match '/static/*rest', to: 'reads#answer', via: :all, defaults: { endpoint: 'static' }, format: false
    match '/(*rest)', to: 'reads#answer', via: :all, defaults: { endpoint: 'none' }, format: false
  end
end

class ReadsController < ActionController::Base

  def flat(value)
    case value
    when nil then []
    when ActionController::Parameters then value.to_unsafe_h.values.flat_map { |member| flat(member) }
    when Hash then value.values.flat_map { |member| flat(member) }
    when Array then value.flat_map { |member| flat(member) }
    else [value.to_s]
    end
  end

  def answer
    path = request.path_parameters
    reads = [
      ['query', 'query_parameters', flat(request.query_parameters['site'])],
      ['merged', 'params', flat(params[:site])],
      ['header', 'headers', flat(request.headers['X-Site'])],
      ['host', 'request.host', flat(request.host)],
    ]
    render json: JSON.generate({ id: request.headers['X-Request-Id'], method: request.request_method, endpoint: path[:endpoint],
                                 site: path[:endpoint] == 'site' ? path[:own] : nil, reads: reads })
  end
end

App.initialize!
run App
