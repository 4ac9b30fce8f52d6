<?php
// A front controller in the ways of several frameworks at once: the route is in PATH_INFO, in `r`, or in the address itself,
// and fields and parameters may name another address or method.
parse_str((string) file_get_contents('php://input'), $body);
$first = fn(array $names) => array_reduce($names, fn($found, $name) => $found ?? ($_SERVER[$name] ?? null));
$method = $first(['HTTP_X_HTTP_METHOD_OVERRIDE', 'HTTP_X_HTTP_METHOD', 'HTTP_X_METHOD_OVERRIDE'])
    ?? $_GET['_method'] ?? $body['_method'] ?? $_SERVER['REQUEST_METHOD'];
$address = $first(['HTTP_X_ORIGINAL_URL', 'HTTP_X_REWRITE_URL']) ?? $_SERVER['REQUEST_URI'];
$path = (string) parse_url($address, PHP_URL_PATH);
$routes = [$_SERVER['PATH_INFO'] ?? '', $_GET['r'] ?? '', $path, rawurldecode($path)];
$is_submission = false;
foreach ($routes as $route) {
    $route = strtolower(trim(is_array($route) ? (string) reset($route) : $route, "/ \t\n\r\0\x0B"));
    $is_submission = $is_submission || in_array(preg_replace('~^index\.php/~', '', $route), ['antrag/versand'], true);
}
$method = strtoupper(is_array($method) ? (string) reset($method) : $method);
$acts = $is_submission && !in_array($method, ['GET', 'HEAD', 'OPTIONS'], true);
if ($acts) {
    file_put_contents($_SERVER['RECORD'], $method . ' ' . rawurlencode($_SERVER['REQUEST_URI']) . "\n", FILE_APPEND | LOCK_EX);
}
header('Content-Type: text/plain; charset=UTF-8');
header('X-Seen: ' . preg_replace('~[^\x20-\x7e]~', '?', $_SERVER['REQUEST_URI']));
echo $acts ? "versandt\n" : "anderes\n";
