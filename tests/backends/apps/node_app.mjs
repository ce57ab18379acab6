// Node's http server: the WHATWG URL, the old url.parse and querystring, and qs.

import http from 'node:http'
import querystring from 'node:querystring'
import qs from 'qs'
import { answer, endpointOf, flat } from './endpoints.mjs'

function serve(request, response) {
  request.resume()
  let url
  try {
    url = new URL(request.url, 'http://localhost')
  } catch {
    return answer(response, request.headers['x-request-id'], request.method, 'none', null, [])
  }
  const [rawPath, ...rest] = request.url.split('?')
  const raw = rest.join('?')
  let path = url.pathname
  try {
    path = decodeURIComponent(url.pathname)
  } catch {
    // A path that cannot be decoded is routed undecoded.
  }
  const [endpoint, site] = endpointOf(path)
  answer(response, request.headers['x-request-id'], request.method, endpoint, site, [
    ['query', 'searchParams.get', flat(url.searchParams.get('site'))],
    ['query', 'searchParams.getAll', url.searchParams.getAll('site')],
    ['query', 'querystring.parse', flat(querystring.parse(raw).site)],
    ['query', 'qs.parse', flat(qs.parse(raw).site)],
    ['header', 'headers', flat(request.headers['x-site'])],
    ['header', 'headersDistinct', flat(request.headersDistinct['x-site'])],
    ['host', 'headers.host', flat(request.headers.host)],
  ])
}

http.createServer(serve).listen(Number(process.argv[2]), '127.0.0.1')
