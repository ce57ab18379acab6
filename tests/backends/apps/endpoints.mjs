// The response of all JavaScript backends.

const ROUTES = {
  '/api/sites': 'list',
  '/api/reports/everything': 'everything',
  '/api/query': 'query',
  '/api/lookup': 'lookup',
}

export { ROUTES }

export function endpointOf(path) {
  if (Object.hasOwn(ROUTES, path)) return [ROUTES[path], null]
  const segments = path.split('/')
  if (path.startsWith('/api/sites/') && segments.length > 4) return ['site', segments[3]]
  if (path.startsWith('/api/export/')) return ['query', null]
  if (path.startsWith('/static/')) return ['static', null]
  return ['none', null]
}

// Returns a flat list for a value of any shape, because qs creates arrays and objects.
export function flat(value) {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value.flatMap(flat)
  if (typeof value === 'object') return Object.values(value).flatMap(flat)
  return [String(value)]
}

export function answer(response, id, method, endpoint, site, reads) {
  const content = JSON.stringify({ id: id ?? null, method, endpoint, site: site ?? null, reads })
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(content) })
  response.end(content)
}
