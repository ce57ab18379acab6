// Express, version 4 or 5, with body parsers and method-override, configured as in their documentation.

import methodOverride from 'method-override'
import { ROUTES, answer, flat } from './endpoints.mjs'

const express = (await import(process.argv[3])).default
const old = process.argv[3] === 'express4'
const app = express()
app.set('trust proxy', true)
app.use(express.json({ strict: false, type: 'application/json' }))
app.use(express.urlencoded({ extended: true }))
app.use(methodOverride('X-HTTP-Method-Override'))
app.use(methodOverride('_method'))

const rest = old ? '*' : '*rest'
const routes = {
  ...ROUTES,
  [`/api/sites/:site/${rest}`]: 'site',
  [`/api/export/${rest}`]: 'query',
  [`/static/${rest}`]: 'static',
}

function serve(endpoint) {
  return (request, response) => {
    const reads = [
      ['query', 'req.query', flat(request.query.site)],
      ['header', 'req.get', flat(request.get('X-Site'))],
      ['host', 'req.hostname', flat(request.hostname)],
      ['host', 'req.host', flat(request.host)],
    ]
    // req.param() of Express 4 looks into the route's parameters, the body and the query.
    if (old && endpoint !== 'site') reads.push(['merged', 'req.param', flat(request.param('site'))])
    answer(response, request.get('X-Request-Id'), request.method, endpoint, request.params.site, reads)
  }
}

for (const [path, endpoint] of Object.entries(routes)) app.all(path, serve(endpoint))
app.use(serve('none'))
app.use((error, request, response, next) => {
  response.statusCode = 400
  response.end('declined')
})

app.listen(Number(process.argv[2]), '127.0.0.1')
