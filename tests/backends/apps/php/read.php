<?php
// The response of all PHP backends.

function endpoint_of($path) {
    $known = ['/api/sites' => 'list', '/api/reports/everything' => 'everything', '/api/query' => 'query', '/api/lookup' => 'lookup'];
    if (isset($known[$path])) return [$known[$path], null];
    $segments = explode('/', $path);
    if (str_starts_with($path, '/api/sites/') && count($segments) > 4) return ['site', $segments[3]];
    if (str_starts_with($path, '/api/export/')) return ['query', null];
    if (str_starts_with($path, '/static/')) return ['static', null];
    return ['none', null];
}

function flat($value) {
    if ($value === null) return [];
    if (is_array($value)) return array_merge(...array_map('flat', array_values($value)) ?: [[]]);
    return [$value];
}

function answer($endpoint, $site, $reads) {
    $reads[] = ['header', '$_SERVER', flat($_SERVER['HTTP_X_SITE'] ?? null)];
    $reads[] = ['host', '$_SERVER', flat($_SERVER['HTTP_HOST'] ?? null)];
    $report = [
        'id' => $_SERVER['HTTP_X_REQUEST_ID'] ?? null, 'method' => $_SERVER['REQUEST_METHOD'],
        'endpoint' => $endpoint, 'site' => $site, 'reads' => $reads, 'uri' => $_SERVER['REQUEST_URI'],
    ];
    $content = json_encode($report, JSON_INVALID_UTF8_SUBSTITUTE);
    header('Content-Type: application/json');
    header('Content-Length: ' . strlen($content));
    echo $content;
}
