// Koa with its router.

import Router from '@koa/router'
import Koa from 'koa'
import { ROUTES, flat } from './endpoints.mjs'

const app = new Koa({ proxy: true })
app.silent = true
const router = new Router()

function serve(endpoint) {
  return (context) => {
    context.req.resume()
    const reads = [
      ['query', 'context.query', flat(context.query.site)],
      ['query', 'context.URL', flat(context.URL.searchParams?.getAll('site'))],
      ['header', 'context.get', flat(context.get('X-Site') || null)],
      ['host', 'context.hostname', flat(context.hostname)],
      ['host', 'context.host', flat(context.host)],
    ]
    const site = context.params?.site ?? null
    context.body = { id: context.get('X-Request-Id'), method: context.method, endpoint, site, reads }
  }
}

const routes = { ...ROUTES, '/api/sites/:site/*rest': 'site', '/api/export/*rest': 'query', '/static/*rest': 'static' }
for (const [path, endpoint] of Object.entries(routes)) router.all(path, serve(endpoint))
app.use(router.routes())
app.use(serve('none'))
app.listen(Number(process.argv[2]), '127.0.0.1')
