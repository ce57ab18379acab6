// Hono on Node.

import { serve as listen } from '@hono/node-server'
import { Hono } from 'hono'
import { ROUTES, flat } from './endpoints.mjs'

const app = new Hono()

function serve(endpoint) {
  return (context) => {
    const reads = [
      ['query', 'req.query', flat(context.req.query('site'))],
      ['query', 'req.queries', flat(context.req.queries('site'))],
      ['header', 'req.header', flat(context.req.header('X-Site'))],
      ['host', 'req.url', flat(new URL(context.req.url).host)],
    ]
    const id = context.req.header('X-Request-Id') ?? null
    return context.json({ id, method: context.req.method, endpoint, site: context.req.param('site') ?? null, reads })
  }
}

const routes = { ...ROUTES, '/api/sites/:site/*': 'site', '/api/export/*': 'query', '/static/*': 'static', '*': 'none' }
for (const [path, endpoint] of Object.entries(routes)) app.all(path, serve(endpoint))
listen({ fetch: app.fetch, port: Number(process.argv[2]), hostname: '127.0.0.1' })
