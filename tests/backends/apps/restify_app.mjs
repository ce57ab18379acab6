// Restify. With `mapParams`, req.params merges the path, the query and the body.

import restify from 'restify'
import { ROUTES, flat } from './endpoints.mjs'

const server = restify.createServer()
server.use(restify.plugins.queryParser({ mapParams: false }))

function serve(endpoint) {
  return (request, response, next) => {
    request.resume()
    const reads = [
      ['query', 'request.query', flat(request.query.site)],
      ['query', 'getQuery', [...new URLSearchParams(request.getQuery()).getAll('site')]],
      ['header', 'request.header', flat(request.header('X-Site'))],
    ]
    response.json({ id: request.header('X-Request-Id'), method: request.method, endpoint, site: request.params.site ?? null, reads })
    next(false)
  }
}

const methods = ['get', 'head', 'opts', 'post', 'put', 'patch', 'del']
const routes = { ...ROUTES, '/api/sites/:site/*': 'site', '/api/export/*': 'query', '/static/*': 'static', '/*': 'none' }
for (const [path, endpoint] of Object.entries(routes)) for (const method of methods) server[method](path, serve(endpoint))
server.listen(Number(process.argv[2]), '127.0.0.1')
