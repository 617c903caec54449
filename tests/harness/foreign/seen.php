<?php
// What PHP frameworks read: https://www.php.net/manual/en/reserved.variables.server.php
header('Content-Type: application/json');
echo json_encode($_SERVER);
