<?php
// What an application is told of a client.
header('Content-Type: text/plain; charset=UTF-8');
foreach ($_SERVER as $name => $value) {
    echo $name, '=', is_string($value) ? $value : '', "\n";
}
